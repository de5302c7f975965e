"""The page about mutants: what is read from mutmut's folder, which rule explains what, what stays open."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from benchmarks.mutation import RULES, UNKNOWN, Mutant, Rule, mutants, page, survivors

SOURCE = """
def x_twice__mutmut_orig(number):
    return 2 * number

def x_twice__mutmut_1(number):
    return 3 * number

def x_twice__mutmut_2(number):
    return 2 / number

class Box:
    def xǁBoxǁopen__mutmut_orig(self, device=None):
        return self.lid.to(device)

    def xǁBoxǁopen__mutmut_1(self, device=None):
        return self.lid.to(None)
"""
CODES = {"a.tools.x_twice__mutmut_1": 1, "a.tools.x_twice__mutmut_2": 0, "a.tools.xǁBoxǁopen__mutmut_1": 0}


def found_in(folder: Path) -> list[Mutant]:
    (folder / "tools.py").write_text(SOURCE)
    (folder / "tools.py.meta").write_text(json.dumps({"exit_code_by_key": CODES}))
    return list(mutants(folder))


def test_changes_are_read_with_their_results(tmp_path: Path) -> None:
    assert found_in(tmp_path) == [
        Mutant("tools", "twice", "killed", "return 2 * number", "return 3 * number"),
        Mutant("tools", "twice", "survived", "return 2 * number", "return 2 / number"),
        Mutant("tools", "Box.open", "survived", "return self.lid.to(device)", "return self.lid.to(None)"),
    ]


def test_survivors_are_explained_by_the_first_rule_or_stay_open(tmp_path: Path) -> None:
    rules = [Rule("tools.Box.*", r"\.to\(None\)", "One device."), Rule("*", "None", "Never read.")]
    text, unexplained = page(found_in(tmp_path), rules)
    assert [one.function for one in unexplained] == ["twice"]
    assert "| tools | 3 | 1 | 0 | 2 | 0 | 1 |" in text and "| all | 3 | 1 | 0 | 2 | 0 | 1 |" in text
    assert "**One device.**" in text and "Never read" not in text
    assert "- `tools.Box.open`: `return self.lid.to(device)` => `return self.lid.to(None)`" in text


def test_mutants_that_were_not_run_are_not_counted_as_found_out(tmp_path: Path) -> None:
    found_in(tmp_path)
    codes = {**CODES, "a.tools.x_twice__mutmut_1": None, "a.tools.x_twice__mutmut_2": -24}
    (tmp_path / "tools.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    assert [one.kind for one in mutants(tmp_path)] == [UNKNOWN, "timeout", "survived"]


def test_survivors_are_named_as_mutmut_does(tmp_path: Path) -> None:
    folder = tmp_path / "mutants" / "recbole_painvrl" / "invariance"
    folder.mkdir(parents=True)
    found_in(folder)
    assert survivors(tmp_path) == ("a.tools.x_twice__mutmut_2", "a.tools.xǁBoxǁopen__mutmut_1")


def test_every_rule_can_be_read() -> None:
    rules = [Rule(**one) for one in yaml.safe_load(RULES.read_text(encoding="utf-8"))]
    assert len(rules) > 10 and all(re.compile(rule.change) and rule.why.endswith(".") for rule in rules)
