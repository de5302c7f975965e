"""Configuration files and command lines: a complete configuration, or a line that names the key or the file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from recbole_painvrl.config import Config
from recbole_painvrl.config_keys import known_keys, properties_folder, read_layer, read_yaml
from recbole_painvrl.run_command import configuration_keys
from tests.fuzz.damage import CELLS, damaged, odd, rarely
from tests.fuzz.spaces import NUMBERS, VALUES
from tests.fuzz.target import Target

OWN = sorted(
    {**read_layer(properties_folder() / "overall.yaml"), **read_layer(properties_folder() / "model" / "PaInvRL.yaml")}
)
# keys of places are left out: what they name is made by a run, not by a configuration
KEYS = sorted(key for key in known_keys() if key not in ("ip", "port", "nproc", "world_size", "local_rank", "offset"))
YAML = (
    "a: 1",
    "epochs: 3",
    "epochs: [1",
    "epochs: 3\nepochs: 4",
    "? [a]\n: 1",
    "? {a: 1}\n: 1",
    "1: 2",
    "~: 1",
    "- a",
    "x",
    "",
    "epochs: &a [*a]",
    "a: &a {b: *a}",
    "epochs: 2001-99-99",
    "epochs: 0b_",
    "epochs: !!int x",
    "epochs: !!bool x",
    "epochs: !!timestamp x",
    "epochs: !!float x",
    "epochs: !!binary x",
    "epochs: !!python/object/apply:os.system ['x']",
    "epochs: !!python/name:os.system",
    "epochs: !x 1",
    "epochs: *b",
    "<<: 1",
    "<<: {epochs: 3}",
    "<<: [{epochs: 3}, 3]",
    "epochs: 1:30",
    "\tepochs: 3",
    "epochs: 3\n---\nseed: 1",
    "%YAML 9.9\n---\nepochs: 1",
    "epochs: 12345678901234567890",
    "epochs: 9" + "9" * 5000,
    "epochs: " + "[" * 3000,
    "epochs: " + "[" * 150 + "]" * 150,
    "epochs: " + "{a: " * 3000,
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
    + "".join(f"k{i}: &k{i} [*{j}, *{j}]\n" for i, j in enumerate(["c", *(f"k{i}" for i in range(28))]))
    + "metrics: *k28",
    "metrics: [2001-01-01]",
    "seed: !!set {1}",
    "seed: !!omap [a: 1]",
    "loss_weights: &a [1, 1, 1, 1]\nmetrics: *a",
    "eval_args: {split: {RS: [8,1,1]}, order: 2001-01-01}",
)


@dataclass(frozen=True)
class Given:
    """A configuration file and the words of a command line."""

    file: bytes
    words: tuple[str, ...]


@st.composite
def yaml_files(draw: st.DrawFn) -> bytes:
    """Returns a configuration file; some are no YAML."""
    count = draw(st.integers(0, 2))
    keys = [draw(rarely(st.sampled_from(OWN), st.sampled_from(KEYS), 3)) for _ in range(count)]
    values = [draw(odd | st.sampled_from(VALUES) | st.sampled_from(NUMBERS)) for _ in keys]
    written = "".join(
        f"{key}: {value}\n" for key, value in zip(keys, values, strict=True) if not isinstance(value, bytes)
    )
    text = written + draw(rarely(st.just("state: ERROR"), st.sampled_from(YAML), 3))
    data = text.encode("utf-8", "replace")
    return draw(rarely(st.just(data), damaged(data), 4))


@st.composite
def words(draw: st.DrawFn) -> tuple[str, ...]:
    """Returns words of a command line."""
    found = []
    for _ in range(draw(st.integers(0, 2))):
        key = draw(rarely(st.sampled_from(OWN) | st.sampled_from(KEYS), st.sampled_from(CELLS)))
        value = draw(st.sampled_from(VALUES) | st.sampled_from(NUMBERS) | st.sampled_from(CELLS) | odd.map(str))
        form = draw(
            rarely(
                st.just(["--{}={}"]), st.sampled_from((["--{}", "{1}"], ["--{}"], ["{}={}"], ["--"], ["-{}", "{1}"]))
            )
        )
        found += [word.format(key, value) for word in form]
    return tuple(found)


def check(given: Given, folder: Path) -> None:
    """Makes a configuration; it can be written and read again, and holds plain and finite values only."""
    file = folder / "given.yaml"
    file.write_bytes(given.file)
    keys = configuration_keys(given.words)
    fixed = {"dataset": "ml-100k", "use_gpu": "False"}
    config = Config("PaInvRL", None, [file], {}, keys | fixed)
    plain = config.plain()
    again = yaml.safe_load(yaml.safe_dump(plain))
    assert json.dumps(again, sort_keys=True) == json.dumps(plain, sort_keys=True)
    for key in ("learning_rate", "reg_weight", "weight_decay"):
        assert plain[key] is None or math.isfinite(plain[key]), f"{key} is {plain[key]}"


def check_yaml(data: bytes, folder: Path) -> None:
    """Reads a YAML file alone."""
    file = folder / "given.yaml"
    file.write_bytes(data)
    content: dict[str, Any] = read_yaml(file)
    assert all(isinstance(key, str) for key in content)
    json.dumps(content)  # no cycle, and nothing that json does not know but dates, which are refused


NAMES = (
    r"given\.yaml",
    "configuration of",
    "command line",
    "--",
    "^'.*' is not understood",
    *(f"^{key}\\b" for key in KEYS),
)
TARGETS = [
    Target("YAML files", yaml_files(), check_yaml, 60, 1_500, (r"given\.yaml",)),
    Target("configuration and command line", st.builds(Given, yaml_files(), words()), check, 25, 1_500, NAMES),
]
