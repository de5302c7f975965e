"""Changes the method's code in thousands of small ways and says which of them no test notices, and why.

    pip install -e ".[test,mutation]" && python -m benchmarks.mutation --output results/mutation.md

mutmut makes the mutants of `recbole_painvrl/invariance/` and runs `tests/invariance` on each. It works in `--folder`, a
copy of the repository, and goes on there after an interruption. Why a survivor does no harm is said by rule in
`benchmarks/mutants.yaml`; ends with status 1 if one has no rule.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "recbole_painvrl/invariance"
RULES = Path(__file__).with_name("mutants.yaml")
COPIED = ("benchmarks", "properties", "recbole_painvrl", "tests", "README.md", "pyproject.toml", "setup.py")
SETTINGS = f"""
[tool.mutmut]
source_paths = ["recbole_painvrl"]
only_mutate = ["{PACKAGE}/*"]
also_copy = ["benchmarks", "properties", "README.md", "setup.py"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = ["tests/invariance"]
"""
UNKNOWN = "unknown"
RESULTS = {1: "killed", 3: "killed", 0: "survived", 5: "not reached", 33: "not reached", None: UNKNOWN, 2: UNKNOWN}
KINDS = ("killed", "timeout", "survived", "not reached")


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        module: Name of the module.
        function: Name of the function, with its class.
        kind: One of :data:`KINDS`.
        before: The changed lines as they are, without indents.
        after: The same in the mutant.
    """

    module: str
    function: str
    kind: str
    before: str
    after: str


@dataclass(frozen=True)
class Rule:
    """Why mutants do no harm that are in ``where`` (a pattern of module.function) and look like ``change``.

    ``change`` is a regular expression, found in "before => after".
    """

    where: str
    change: str
    why: str

    def fits(self, mutant: Mutant) -> bool:
        """Returns whether the rule is about this one."""
        place = fnmatch.fnmatch(f"{mutant.module}.{mutant.function}", self.where)
        return place and re.search(self.change, f"{mutant.before} => {mutant.after}") is not None


def main() -> int:
    """Makes the mutants, runs the tests, writes the page; returns the status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "mutation", help="where to work")
    parser.add_argument("--again", action="store_true", help="run the tests of survivors once more")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    prepare(arguments.folder)
    run(arguments.folder)
    if arguments.again:
        run(arguments.folder, survivors(arguments.folder))
    found = list(mutants(arguments.folder / "mutants" / PACKAGE))
    if not found or any(one.kind == UNKNOWN for one in found):
        print(f"{sum(one.kind == UNKNOWN for one in found)} of {len(found)} mutants have no result; run it again")
        return 1
    rules = [Rule(**one) for one in yaml.safe_load(RULES.read_text(encoding="utf-8"))]
    text, unexplained = page(found, rules)
    arguments.output.write_text(text, encoding="utf-8")
    for one in unexplained:
        print(f"{one.module}.{one.function}: {one.before}  =>  {one.after}")
    print(f"{len(unexplained)} survivors without a rule in {RULES.name}")
    for rule in rules:
        if not any(rule.fits(one) for one in found if one.kind != "killed"):
            print(f"{RULES.name}: nothing survives any more in {rule.where} by {rule.change}")
    return int(bool(unexplained))


def prepare(folder: Path) -> None:
    """Copies what the tests of the method need."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copyfile(ROOT / name, folder / name)
    with open(folder / "pyproject.toml", "a", encoding="utf-8") as file:
        file.write(SETTINGS)


def run(folder: Path, names: tuple[str, ...] = ()) -> None:
    """Runs mutmut on all mutants that have no result yet, or on those of these names; it may end by a signal."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}  # the folder's package, and no other
    subprocess.run([sys.executable, "-m", "mutmut", "run", *names], cwd=folder, env=environment, check=False)


def survivors(folder: Path) -> tuple[str, ...]:
    """Returns mutmut's names of those that survived."""
    files = sorted((folder / "mutants" / PACKAGE).glob("*.meta"))
    codes = [json.loads(file.read_text(encoding="utf-8"))["exit_code_by_key"] for file in files]
    return tuple(name for one in codes for name, code in one.items() if code == 0)


def mutants(folder: Path) -> Iterator[Mutant]:
    """Yields the mutants of mutated modules in a folder, each with its result."""
    for file in sorted(folder.glob("*.py")):
        codes = json.loads(file.with_suffix(".py.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
        functions = _functions(file.read_text(encoding="utf-8"))
        for name, code in codes.items():
            own = name.rpartition(".")[2]
            plain = re.sub(r"__mutmut_\d+$", "", own)
            before, after = _changed(functions[f"{plain}__mutmut_orig"], functions[own])
            yield Mutant(file.stem, _readable(plain), RESULTS.get(code, "timeout"), before, after)


def _functions(source: str) -> dict[str, str]:
    """The text of every function by its name, which it does not have any more."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            found[node.name] = (ast.get_source_segment(source, node) or "").replace(node.name, "def", 1)
    return found


def _changed(before: str, after: str) -> tuple[str, str]:
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return tuple(" ".join(line[2:].strip() for line in lines if line.startswith(sign)) for sign in "-+")  # type: ignore


def _readable(name: str) -> str:
    """``Class.method`` or ``function`` of mutmut's name."""
    return ".".join(name.removeprefix("x").strip("ǁ").split("ǁ")) if "ǁ" in name else name.removeprefix("x_")


def page(found: list[Mutant], rules: list[Rule]) -> tuple[str, list[Mutant]]:
    """Returns the page, and the survivors that no rule explains."""
    counts = Counter((one.module, one.kind) for one in found)
    alive = [one for one in found if one.kind in ("survived", "not reached")]
    reasons = {one: next((rule.why for rule in rules if rule.fits(one)), None) for one in alive}
    lines = [
        "# Changes that tests notice",
        "",
        "Operators, numbers, arguments and names of `recbole_painvrl/invariance/` changed one at a time by mutmut; the "
        "tests of the method run on each. `python -m benchmarks.mutation --output results/mutation.md`",
        "",
        f"| module | mutants | {' | '.join(KINDS)} | without a reason |",
        "| --- " * (len(KINDS) + 3) + "|",
    ]
    for module in [*sorted({one.module for one in found}), "all"]:
        lines.append(_row(module, counts, reasons))
    lines += ["", "## Why those that survive do no harm", ""]
    for why in dict.fromkeys(why for why in reasons.values() if why):
        lines += [f"**{why}**", ""]
        lines += [_line(one) for one, reason in reasons.items() if reason == why] + [""]
    return "\n".join(lines).rstrip() + "\n", [one for one, why in reasons.items() if why is None]


def _row(module: str, counts: Mapping[tuple[str, str], int], reasons: Mapping[Mutant, str | None]) -> str:
    numbers = [
        sum(count for (name, kind), count in counts.items() if kind == wanted and module in (name, "all"))
        for wanted in KINDS
    ]
    open_ = sum(why is None and module in (one.module, "all") for one, why in reasons.items())
    return f"| {module} | {sum(numbers):,} | {' | '.join(f'{number:,}' for number in numbers)} | {open_} |"


def _line(mutant: Mutant) -> str:
    return f"- `{mutant.module}.{mutant.function}`: `{mutant.before}` => `{mutant.after}`"


if __name__ == "__main__":
    sys.exit(main())
