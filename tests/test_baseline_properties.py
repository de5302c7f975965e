"""The baselines' yaml files, the code that reads them and README's tables of keys say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recbole_painvrl.config import Config
from recbole_painvrl.config_checks import MODEL_RULES, RULES
from recbole_painvrl.config_keys import read_yaml
from recbole_painvrl.model.abstract_recommender import MultimodalRecommender
from recbole_painvrl.model.general_recommender.mmgcn import COMBINATIONS
from recbole_painvrl.utils import get_model
from tests.test_properties import CHOICES, MODELS, PROPERTIES, RANGES, ROOT, SOURCE, STOCK, accepts, key_tables

BASELINES = sorted(path.stem for path in (PROPERTIES / "model").glob("*.yaml") if path.stem not in MODELS)
YAML = {model: read_yaml(PROPERTIES / "model" / f"{model}.yaml") for model in BASELINES}
KEYS = sorted({key for content in YAML.values() for key in content})
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n### Keys of the baselines\n", 1)[1].split("\n#", 1)[0]
TABLE, ALL = key_tables(SECTION), key_tables(README)
# keys whose value is one of a few texts, and the texts that the code knows
BASELINE_CHOICES = {
    "combination": COMBINATIONS,
}


def users_of(key: str) -> set[str]:
    """Returns the baselines whose yaml has the key."""
    return {model for model in BASELINES if key in YAML[model]}


@pytest.mark.parametrize("model", BASELINES)
def test_every_baseline_is_a_model_that_readme_lists(model: str) -> None:
    assert issubclass(get_model(model), MultimodalRecommender)
    assert f"| `{model}` |" in README
    assert "Deviations:" in get_model(model).__doc__


@pytest.mark.parametrize("model", BASELINES)
def test_a_configuration_of_defaults_is_accepted_as_it_stands(model: str, tmp_path: Path) -> None:
    (tmp_path / "board").mkdir()
    plain = Config(model, "board", config_dict={"data_path": str(tmp_path)}).plain()
    assert {key: plain[key] for key in YAML[model]} == YAML[model]


@pytest.mark.parametrize("model", BASELINES)
def test_every_key_of_a_baseline_is_explained_with_its_type_in_its_yaml(model: str) -> None:
    lines = (PROPERTIES / "model" / f"{model}.yaml").read_text(encoding="utf-8").splitlines()
    explained = {line.split(":")[0] for line in lines if re.search(r"^\w+:.*# \(", line)}
    assert explained == set(YAML[model])


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_read_by_the_code_and_in_readme(key: str) -> None:
    assert re.search(rf"\w\[\"{key}\"\]", SOURCE) or key in STOCK
    assert key in ALL and ALL[key]["meaning"], f"README's key tables lack `{key}`"


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_rule_or_choices_that_its_defaults_keep(key: str) -> None:
    choices = CHOICES | BASELINE_CHOICES
    values = [YAML[model][key] for model in users_of(key)]
    if key in choices:
        assert key not in RULES and key not in MODEL_RULES
        assert all(value in choices[key] for value in values)
    else:
        assert all(accepts(key, value) for value in values)


@pytest.mark.parametrize("key", sorted(TABLE))
def test_the_table_names_the_models_and_the_range_that_is_checked(key: str) -> None:
    row = TABLE[key]
    assert set(re.findall(r"`(\w+)`", row["models"])) == users_of(key)
    if key in BASELINE_CHOICES:
        assert set(re.findall(r"`([^`]+)`", row["values"])) == set(BASELINE_CHOICES[key])
    else:
        assert RANGES[row["values"].removesuffix(", `~`")](key), f"{key}: README says {row['values']}"
        assert accepts(key, None) == ("`~`" in row["values"])


def test_no_key_stands_in_two_tables() -> None:
    assert not set(TABLE) & set(key_tables(README.replace(SECTION, "")))
