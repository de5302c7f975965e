"""Each rule sees what it may see, chooses the best of that, and says what it lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.notes import double_notes, seed_notes
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.runs import Configuration, Run, configurations, find_runs
from recbole_painvrl.report.selection import (
    ORACLE_LABEL,
    RULES,
    best_epoch,
    choose,
    eligible_rhos,
    final_validations,
    kept_validation,
    own_row,
    select,
)
from tests.report.made_runs import METRIC, make_run, of


def with_environments(path: Path, rows: list[tuple[dict[str, float], float]]) -> Run:
    """Gives the rows of a run results on environments and on a shifted validation set."""
    folder = RunFolder(path)
    result = folder.read_json("result.json")
    for row, (environments, shifted) in zip(result["trade_off"], rows, strict=True):
        row["environments"] = {name: of(value) for name, value in environments.items()}
        row["valid_ood"] = of(shifted)
    folder.write_json("result.json", result)
    return Run(path)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    rows = [({"a": 0.2, "b": 0.25}, 0.1), ({"a": 0.1, "b": 0.9}, 0.2), ({"a": 0.15, "b": 0.3}, 0.4)]
    return with_environments(make_run(tmp_path), rows)


@pytest.mark.parametrize(
    ("rule", "rho", "score"),
    [
        ("iid_validation", 0.5, 0.3),
        ("ood_validation", 1.0, 0.4),
        ("worst_environment", 0.0, 0.2),
        ("oracle", 0.0, 0.31),
    ],
)
def test_each_rule_chooses_its_own_rho(run: Run, rule: str, rho: float, score: float) -> None:
    choice = choose(run, RULES[rule])
    assert (choice.rho, choice.score) == (rho, pytest.approx(score))


def test_the_rho_of_every_rule_but_the_oracle_are_eligible(run: Run) -> None:
    rows = run.result["trade_off"]
    assert eligible_rhos(rows, METRIC, bigger=True) == {0.0, 0.5, 1.0}
    for row in rows:
        row["environments"] = None
    assert eligible_rhos(rows, METRIC, bigger=True) == {0.5, 1.0}
    assert eligible_rhos([], METRIC, bigger=True) == set()


def test_only_the_oracle_sees_test_sets(run: Run) -> None:
    before = {name: choose(run, rule).rho for name, rule in RULES.items()}
    for row in run.result["trade_off"]:
        row["test"], row["test_ood"] = of(0.9 - row["rho"]), of(row["rho"])
    after = {name: choose(run, rule).rho for name, rule in RULES.items()}
    assert {name for name in RULES if before[name] != after[name]} == {"oracle"}


def test_of_equal_rho_the_smallest_is_chosen(run: Run) -> None:
    for row in run.result["trade_off"]:
        row["valid"] = of(0.3)
    assert choose(run, RULES["iid_validation"]).rho == 0.0


def test_smaller_is_better_where_the_metric_says_so(run: Run) -> None:
    run.result["valid_score_bigger"] = False
    assert choose(run, RULES["iid_validation"]).rho == 0.0
    assert choose(run, RULES["worst_environment"]).rho == 0.0  # its largest value, 0.25, is the smallest of the three


def test_a_rho_settled_in_the_run_stays(tmp_path: Path) -> None:
    path = make_run(tmp_path, config={"variant_weight": "validation"})
    assert choose(Run(path), RULES["iid_validation"]).rho == 1.0
    assert choose(Run(path), RULES["oracle"]).rho == 0.0


def test_a_rho_in_single_precision_is_the_same_rho(tmp_path: Path) -> None:
    rows = [{"rho": 0.3, "valid": of(0.5), "test": of(0.1)}]
    run = Run(make_run(tmp_path, result={"variant_weight": float(np.float32(0.3)), "trade_off": rows}))
    assert choose(run, RULES["iid_validation"]).is_own


def test_a_model_without_rho_is_a_row_itself(tmp_path: Path) -> None:
    choice = choose(Run(make_run(tmp_path, "ERM", rounds=0)), RULES["oracle"])
    assert (choice.rho, choice.is_own, choice.score) == (None, True, pytest.approx(0.21))


def test_the_kept_validation_record_serves_where_rows_lack_the_data(tmp_path: Path) -> None:
    path = make_run(tmp_path, "ERM", rounds=0)
    RunFolder(path).record("valid", epoch=9, score=0.9, result=of(0.9), environments={"a": of(0.1), "b": of(0.2)})
    choice = choose(Run(path), RULES["worst_environment"])
    assert choice.score == pytest.approx(0.1)
    assert own_row(choice.run)["environments"]["b"] == of(0.2)


def test_only_the_final_training_counts_for_epochs(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path))
    assert [one["epoch"] for one in final_validations(run)] == [2, 3, 4, 5]
    assert kept_validation(run)["epoch"] == best_epoch(run, RULES["iid_validation"])["epoch"] == 5
    assert best_epoch(run, RULES["oracle"]) is None


@pytest.mark.parametrize("rule", ["ood_validation", "worst_environment", "oracle"])
def test_what_a_rule_lacks_is_named(tmp_path: Path, rule: str) -> None:
    run = Run(make_run(tmp_path, "ERM", rounds=0, result={"test_results": {"test": of(0.4)}}))
    needed = {"ood_validation": "valid_ood", "worst_environment": "environments", "oracle": "recbole-painvrl split"}
    with pytest.raises(UserError, match=needed[rule]) as error:
        choose(run, RULES[rule])
    assert str(run.path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_best_configuration_by_its_mean_over_seeds(tmp_path: Path) -> None:
    for seed, scores in ((1, (0.5, 0.2)), (2, (0.1, 0.3)), (3, (0.1, 0.3))):
        for lr, valid in zip((0.1, 0.01), scores, strict=True):
            make_run(tmp_path, seed=seed, valid=valid, config={"learning_rate": lr})
    runs, _ = find_runs([tmp_path])
    selected = select(configurations(runs), RULES["iid_validation"])
    assert {one.configuration.differs: one.chosen for one in selected} == {
        "learning_rate=0.1": False,
        "learning_rate=0.01": True,
    }
    assert [len(one.choices) for one in selected] == [3, 3]


def test_other_metrics_cannot_compete(tmp_path: Path) -> None:
    runs = [
        Run(make_run(tmp_path, config={"valid_metric": "NDCG@10"})),
        Run(make_run(tmp_path, config={"valid_metric": "Recall@10"}, result={"valid_metric": "recall@10"})),
    ]
    with pytest.raises(UserError, match=r"ndcg@10 and recall@10"):
        select(configurations(runs), RULES["iid_validation"])


def test_models_with_other_seeds_are_named(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, model, seed) for model, seed in (("ERM", 1), ("ERM", 2), ("MF", 1), ("MF", 2))]
    runs += [make_run(tmp_path, "BPR", 3), make_run(tmp_path, "BPR", 1, "other")]
    runs += [make_run(tmp_path, "MF", 3, config={"learning_rate": 9}, valid=0.1)]  # not chosen
    selected = select(configurations([Run(path) for path in runs]), RULES["iid_validation"])
    of_configurations, of_models = seed_notes(selected)
    assert of_configurations.startswith("MF on made: its configurations were run with different seeds")
    assert of_models.startswith("made: its models were run with different seeds (BPR: 3; ERM, MF: 1 2); ")
    assert seed_notes([one for one in selected if one.configuration.model == "ERM"]) == []


def test_the_oracle_is_labelled() -> None:
    assert RULES["oracle"].label == ORACLE_LABEL == "oracle: not allowed for claims"
    assert [rule.name for rule in RULES.values() if not rule.allowed] == ["oracle"]


def test_place_and_seed_make_no_other_configuration(tmp_path: Path) -> None:
    runs = [
        Run(make_run(tmp_path, seed=1, config={"output_dir": "x"})),
        Run(make_run(tmp_path, seed=2, config={"output_dir": "y", "gpu_id": None})),
    ]
    (only,) = configurations(runs)
    assert isinstance(only, Configuration)
    assert (only.differs, [run.seed for run in only.runs]) == ("", [1, 2])
    assert only.runs[0].metric == METRIC


def test_the_same_run_twice_is_counted_once_and_named(tmp_path: Path) -> None:
    path = make_run(tmp_path, config={"output_dir": "x"})
    assert len(find_runs([path, tmp_path, path / ".." / path.name])[0]) == 1
    other = make_run(tmp_path, config={"output_dir": "y"})
    (only,) = configurations([Run(path), Run(other)])
    assert [run.path for run in only.runs] == [path]
    selected = select([only], RULES["iid_validation"])
    assert double_notes(selected) == [f"{other}: left out, it has the configuration and the seed of {path}"]
    changed = make_run(tmp_path, config={"output_dir": "z"}, result={"test_results": {"test": of(0.9)}})
    (only,) = configurations([Run(path), Run(changed)])
    assert double_notes(select([only], RULES["iid_validation"]))[0].endswith("but other test results")


@pytest.mark.parametrize(("one", "other"), [(0, 0.0), (2, 2.0), ([1, 0.5], [1.0, 0.5]), ({"a": 10}, {"a": 10.0})])
def test_a_whole_number_is_the_equal_float(tmp_path: Path, one: object, other: object) -> None:
    first, double = make_run(tmp_path, config={"key": one}), make_run(tmp_path, config={"key": other})
    second = make_run(tmp_path, seed=2, config={"key": other})
    (only,) = configurations([Run(path) for path in (first, double, second)])
    assert (only.differs, [run.path for run in only.runs]) == ("", [first, second])
    assert [(left.path, kept.path) for left, kept in only.doubles] == [(double, first)]


def test_a_switch_is_no_number(tmp_path: Path) -> None:
    runs = [Run(make_run(tmp_path, config={"key": value})) for value in (True, 1, 1.5)]
    assert [one.differs for one in configurations(runs)] == ["key=1", "key=1.5", "key=True"]
