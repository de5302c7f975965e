"""The yaml files, the code that reads them and README's table of keys say the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_painvrl.config import Config
from recbole_painvrl.config_checks import MODEL_RULES, RULES
from recbole_painvrl.config_keys import RECBOLE_PROPERTIES, known_keys, read_yaml
from recbole_painvrl.data.dataloader import _batch_by
from recbole_painvrl.errors import UserError
from recbole_painvrl.model.content import ROTATIONS
from recbole_painvrl.model.fusion_recommender import BACKBONES, NEW_ITEMS
from recbole_painvrl.model.general_recommender.painvrl import AXES, CONVERSIONS
from recbole_painvrl.model.objective import LOSSES
from recbole_painvrl.trainer.stage_settings import CHOICES as STAGE_CHOICES
from recbole_painvrl.utils import model_names

ROOT = Path(__file__).resolve().parent.parent
PROPERTIES = ROOT / "properties"
MODELS = ("PaInvRL", "ERM", "UltraGCN")
MULTIMODAL = sorted(path.stem for path in (PROPERTIES / "model").glob("*.yaml"))
YAML = {model: read_yaml(PROPERTIES / "model" / f"{model}.yaml") for model in MODELS}
KEYS = sorted({key for content in YAML.values() for key in content})
DEFAULTS = {**YAML["UltraGCN"], **YAML["PaInvRL"]}
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "recbole_painvrl").rglob("*.py")))
# read by RecBole's trainer
STOCK = set(read_yaml(RECBOLE_PROPERTIES / "overall.yaml"))
CHOICES = {
    **STAGE_CHOICES,
    "backbone": BACKBONES,
    "rec_loss": LOSSES,
    "new_items": NEW_ITEMS,
    "feature_rotation": ROTATIONS,
    "convert": CONVERSIONS,
    "mask_axes": AXES,
    "batch_by": ("interaction", "user"),
}


def key_tables(text: str) -> dict[str, dict[str, str]]:
    """Rows of README's tables whose first column is ``key``: the other cells by column, for each key in backticks."""
    rows: dict[str, dict[str, str]] = {}
    columns: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            columns = []
        elif cells[0] == "key":
            columns = cells
        elif columns:
            rows |= {key: dict(zip(columns, cells, strict=False)) for key in re.findall(r"`(\w+)`", cells[0])}
    return rows


TABLE = key_tables((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_read_by_the_code(key: str) -> None:
    assert re.search(rf"\w\[\"{key}\"\]", SOURCE) or key in STOCK


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_in_readme_with_its_default(key: str) -> None:
    assert key in TABLE, f"README's key table lacks `{key}`"
    stated = yaml.safe_load(TABLE[key]["default"].strip("`"))
    assert stated == DEFAULTS[key]
    assert TABLE[key]["meaning"]


@pytest.mark.parametrize("dataset", ["ml-100k", "other"])
def test_no_model_trains_for_longer_by_its_defaults(dataset: str, tmp_path: Path) -> None:
    (tmp_path / dataset).mkdir()
    keys = {"data_path": str(tmp_path), "tuned_defaults": False}
    configs = [
        Config(model, dataset, config_dict=keys) for model in [*MULTIMODAL, "BPR", "LightGCN", "ItemKNN", "MultiVAE"]
    ]
    assert {(one["epochs"], one["eval_step"], one["stopping_step"], one["valid_metric"]) for one in configs} == {
        (300, 1, 20, "NDCG@20")
    }


def test_readme_lists_no_key_that_is_gone() -> None:
    assert set(TABLE) <= known_keys()


def accepts(key: str, value: Any) -> bool:
    _, fits = RULES.get(key) or MODEL_RULES[key]
    return fits(value)


WORDS = ("validation", "feature", "modality", "some other word")

RANGES: dict[str, Callable[[str], bool]] = {
    "at least 0": lambda key: accepts(key, 0) and not accepts(key, -1),
    "at least 1": lambda key: accepts(key, 1) and not accepts(key, 0),
    "at least 2": lambda key: accepts(key, 2) and not accepts(key, 1),
    "above 0": lambda key: accepts(key, 1) and not accepts(key, 0),
    "0 to 1": lambda key: accepts(key, 0) and accepts(key, 1) and not accepts(key, -0.5) and not accepts(key, 1.5),
    "a dict": lambda key: accepts(key, {}) and not accepts(key, []),
    "true, false": lambda key: accepts(key, True) and accepts(key, False) and not accepts(key, 1),
}


@pytest.mark.parametrize("key", [key for key in KEYS if key not in CHOICES])
def test_the_range_in_readme_is_the_one_that_is_checked(key: str) -> None:
    values = TABLE[key]["values"]
    assert accepts(key, None) == ("`~`" in values)
    words = set(re.findall(r"`([^`~]+)`", values))
    assert values == "a column, `~`" or {word for word in WORDS if accepts(key, word)} == words
    stated = re.split(r", `|;", values)[0]
    if stated in RANGES:
        assert RANGES[stated](key), f"{key}: README says {values}"
    else:
        assert stated in ("four numbers", "two numbers", "a column", "a list of numbers")


@pytest.mark.parametrize("key", [key for key in KEYS if key in CHOICES])
def test_the_choices_in_readme_and_yaml_are_those_of_the_code(key: str) -> None:
    assert set(re.findall(r"`([^`]+)`", TABLE[key]["values"])) == set(CHOICES[key])
    assert all(content[key] in CHOICES[key] for content in YAML.values() if key in content)


@pytest.mark.parametrize("key", sorted(set(KEYS) - set(CHOICES)))
def test_every_other_key_has_a_rule_that_its_defaults_keep(key: str) -> None:
    assert all(accepts(key, content[key]) for content in YAML.values() if key in content)


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_texts_of_a_choice_are_left_to_the_code_that_knows_them(key: str) -> None:
    """A rule beside the code's own list would have to be kept equal to it."""
    assert key not in RULES
    assert key not in MODEL_RULES


def test_the_loader_knows_the_two_orders() -> None:
    assert [_batch_by({"batch_by": order}) for order in CHOICES["batch_by"]] == list(CHOICES["batch_by"])
    with pytest.raises(UserError, match="batch_by must be interaction or user"):
        _batch_by({"batch_by": "random"})


TUNED = sorted((PROPERTIES / "tuned").glob("*/*.yaml"))
DATASETS = sorted((PROPERTIES / "dataset").glob("*.yaml"))


def baselines() -> set[str]:
    """Returns our other models, which test_baseline_properties.py checks."""
    package = ROOT / "recbole_painvrl" / "model" / "general_recommender"
    own = {path.stem for path in package.glob("[!_]*.py")}
    return {name for name in model_names() if name.lower() in own} - set(MODELS)


def test_every_properties_file_is_where_it_is_read() -> None:
    models = [PROPERTIES / "model" / f"{model}.yaml" for model in [*MODELS, *baselines()]]
    spaces = [PROPERTIES / "search" / f"{path.stem}.hyper" for path in models]
    spaces += [PROPERTIES / "search" / f"{model}.hyper" for model in ("BPR", "LightGCN")]  # RecBole's, often compared
    expected = [PROPERTIES / "overall.yaml", *models, *TUNED, *DATASETS, *spaces]
    assert sorted(PROPERTIES.rglob("*.*")) == sorted(expected)


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.stem)
def test_keys_of_a_data_set_are_known_without_it(path: Path) -> None:
    stock = {key for file in RECBOLE_PROPERTIES.rglob("*.yaml") for key in read_yaml(file)}
    ours = set(read_yaml(PROPERTIES / "overall.yaml"))
    assert set(read_yaml(path)) <= stock | ours


@pytest.mark.parametrize("path", TUNED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_tuned_values_are_of_keys_that_the_model_reads(path: Path, tmp_path: Path) -> None:
    """And they pass every check, in a configuration that names model and data set only."""
    dataset, model, tuned = path.parent.name, path.stem, read_yaml(path)
    model_files = [root / "model" / f"{model}.yaml" for root in (RECBOLE_PROPERTIES, PROPERTIES)]
    own = {key for file in model_files if file.is_file() for key in read_yaml(file)}
    assert set(tuned) <= own | STOCK | set(read_yaml(PROPERTIES / "overall.yaml"))
    (tmp_path / dataset).mkdir()
    config = Config(model, dataset, config_dict={"data_path": str(tmp_path)})
    assert {key: config.plain()[key] for key in tuned} == tuned


@pytest.mark.parametrize("model", MODELS)
def test_a_configuration_of_defaults_is_accepted_as_it_stands(model: str) -> None:
    plain = Config(model, "ml-100k").plain()
    tuned = PROPERTIES / "tuned" / "ml-100k" / f"{model}.yaml"
    expected = {**YAML[model], **(read_yaml(tuned) if tuned.is_file() else {})}
    assert {key: plain[key] for key in expected} == expected
