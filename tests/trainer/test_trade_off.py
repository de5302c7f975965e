"""One trained model at several rho, and the rho that validation chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl import checkpoint
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import Interrupted
from recbole_painvrl.quick_start import load_data_and_model, resume, run_recbole_painvrl
from recbole_painvrl.report.records import PER_USER_RHO, RunFolder, key_at
from recbole_painvrl.report.runs import Run
from recbole_painvrl.report.selection import RULES, choose, eligible_rhos, own_row
from recbole_painvrl.trainer import PaInvRLTrainer
from recbole_painvrl.trainer.trade_off import at_weight, choose_weight, least_within, per_user_at, trade_off
from tests.inputs import write_checkerboard
from tests.trainer.test_run_trainer import KEYS, STAGES, configuration, started, trained, without_times

WEIGHTS = [0.0, 0.3, 1.0]
SMALL = {**STAGES, "use_gpu": False, "batch_by": "interaction", "variant_weights": WEIGHTS, "topk": [1, 3]}
SMALL |= {"valid_metric": "NDCG@3", "projection_reg_weight": 0.0003}  # content that counts, so that rho does
SOME = {0.0: 0.80, 0.2: 0.96, 0.6: 1.00, 1.0: 0.98}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(folder: Path, **more: Any) -> tuple[Any, Any]:
    """A trainer whose model scores by both branches, and its data."""
    return trained(configuration("PaInvRL", folder, 3, **{**SMALL, **more}))


def test_rows_are_the_results_of_models_at_those_rho(folder: Path) -> None:
    """The rho of inference changes nothing in training, so that models trained at each rho are the same model."""
    trainer, data = small(folder, variant_weight=0.7)
    rows = trade_off(trainer, {"valid": data.valid, "test": data.test}, WEIGHTS)
    assert [row["rho"] for row in rows] == WEIGHTS
    assert float(trainer.model.rho) == pytest.approx(0.7)
    for row in rows:
        other, other_data = small(folder, variant_weight=row["rho"])
        assert row["valid"] == other.evaluate(other_data.valid, load_best_model=False)
        assert row["environments"] == other.environments(other_data.valid)["environments"]
        assert row["test"] == other.evaluate(other_data.test, load_best_model=False)
    assert len({tuple(row["test"].values()) for row in rows}) > 1


def test_a_row_without_a_validation_set(folder: Path) -> None:
    trainer, data = small(folder)
    (row,) = trade_off(trainer, {"valid": None, "test": data.test}, [1.0])
    assert row["valid"] is None and "environments" not in row


def test_rho_and_scores_come_back_whatever_happens(folder: Path) -> None:
    trainer, data = small(folder, variant_weight=0.7)
    model, batch = trainer.model.eval(), next(iter(data.train))
    before = model.full_sort_predict(batch)
    with at_weight(model, 0.0):
        within = model.full_sort_predict(batch)
    assert not torch.equal(within, before)
    with pytest.raises(RuntimeError, match="boom"), at_weight(model, 0.0):
        model.full_sort_predict(batch)
        raise RuntimeError("boom")
    assert float(model.rho) == pytest.approx(0.7)
    assert torch.equal(model.full_sort_predict(batch), before)


def test_an_evaluation_that_fails_leaves_rho(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, data = small(folder, variant_weight=0.7)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(trainer, "evaluate", fail)
    with pytest.raises(RuntimeError, match="boom"):
        trade_off(trainer, {"valid": data.valid}, WEIGHTS)
    assert float(trainer.model.rho) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("tolerance", "expected"), [(0.0, 0.6), (0.03, 0.6), (0.041, 0.2), (0.19, 0.2), (0.21, 0.0), (1.0, 0.0)]
)
def test_the_smallest_rho_within_the_tolerance(tolerance: float, expected: float) -> None:
    assert least_within(SOME, tolerance, bigger=True) == expected
    assert least_within(dict(reversed(SOME.items())), tolerance, bigger=True) == expected


@pytest.mark.parametrize(("tolerance", "expected"), [(0.0, 0.6), (0.09, 0.6), (0.11, 0.2), (0.6, 0.0)])
def test_smaller_scores_may_be_the_better_ones(tolerance: float, expected: float) -> None:
    assert least_within({0.0: 3.0, 0.2: 2.2, 0.6: 2.0, 1.0: 2.5}, tolerance, bigger=False) == expected


@pytest.mark.parametrize(("reference", "expected"), [(0.5, 0.0), (0.625, 0.2), (0.7, 1.0), (2.0, 1.0)])
def test_the_price_is_measured_by_the_recommender_without_the_modules(reference: float, expected: float) -> None:
    """Whoever is a fifth worse than the reference still goes; where all are worse, the best one does."""
    scores = {0.0: 0.45, 0.2: 0.5, 0.6: 0.54, 1.0: 0.6}
    assert least_within(scores, 0.2, bigger=True, reference=reference) == expected
    losses = {rho: -score for rho, score in scores.items()}
    assert least_within(losses, 0.2, bigger=False, reference=-reference) == expected


def test_negative_scores_have_a_tolerance_too() -> None:
    scores = {0.0: -2.1, 1.0: -2.0}
    assert least_within(scores, 0.06, bigger=True) == 0.0
    assert least_within(scores, 0.04, bigger=True) == 1.0


@pytest.mark.parametrize("bigger", [True, False])
def test_of_equal_scores_the_smallest_rho(bigger: bool) -> None:
    assert least_within({1.0: 0.5, 0.5: 0.5, 0.1: 0.5}, 0.0, bigger) == 0.1


def test_all_scores_may_be_zero() -> None:
    assert least_within({0.0: 0.0, 1.0: 0.0}, 0.05, bigger=True) == 0.0


def test_the_choice_reads_the_metric_of_the_validation_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, data = small(folder)
    scores = {0.0: 0.1, 0.3: 0.5, 1.0: 0.9}

    def made_up(loader: Any, load_best_model: bool) -> dict[str, float]:
        assert loader is data.valid
        rho = round(float(trainer.model.rho), 6)
        return {"ndcg@3": scores[rho], "mrr@3": -scores[rho]}

    monkeypatch.setattr(trainer, "evaluate", made_up)
    monkeypatch.setattr(trainer, "environments", lambda loader: {})
    assert choose_weight(trainer, data.valid, WEIGHTS, "ndcg@3", 0.0, bigger=True) == 1.0
    assert choose_weight(trainer, data.valid, WEIGHTS, "ndcg@3", 0.5, bigger=True) == 0.3
    assert choose_weight(trainer, data.valid, WEIGHTS, "mrr@3", 0.0, bigger=True) == 0.0


# the whole program


def run_keys(folder: Path, **more: Any) -> dict[str, Any]:
    board = write_checkerboard(folder / "data")
    chosen = {"variant_weight": "validation", "variant_tolerance": 0.3, "epochs": 4}
    return board.config(**{**KEYS, **SMALL, **chosen, **more})


def whole_run(folder: Path, **more: Any) -> tuple[dict[str, Any], RunFolder]:
    result = run_recbole_painvrl("PaInvRL", "board", config_dict=run_keys(folder, **more))
    (path,) = (folder / "runs" / "board" / "PaInvRL").iterdir()
    return result, RunFolder(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that chose its rho and met with nothing."""
    place = tmp_path_factory.mktemp("chosen")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        return RunFolder(whole_run(place, output_dir=str(place / "runs"))[1].path)


def untimed(run: RunFolder) -> dict[str, Any]:
    result = run.read_json("result.json")
    return {key: value for key, value in result.items() if not key.startswith(("seconds", "peak"))}


def test_a_run_chooses_its_rho_and_says_so(finished: RunFolder) -> None:
    result = finished.read_json("result.json")
    rows = {row["rho"]: row for row in result["trade_off"]}
    assert list(rows) == WEIGHTS
    plain = max(record["score"] for record in finished.records("valid") if record["epoch"] < 1)
    assert result["plain_valid_score"] == plain
    expected = least_within({rho: row["valid"]["ndcg@3"] for rho, row in rows.items()}, 0.3, True, plain)
    assert expected != 1.0  # or else nothing was chosen
    assert result["variant_weight"] == pytest.approx(expected)
    assert result["best_valid_result"] == rows[expected]["valid"]
    assert result["best_valid_score"] == rows[expected]["valid"]["ndcg@3"]
    assert result["test_results"] == {name: rows[expected][name] for name in result["test_results"]}
    (record,) = finished.records("chosen")
    assert record["variant_weight"] == expected
    assert record["result"] == result["best_valid_result"] and record["score"] == result["best_valid_score"]
    assert record["environments"] == rows[expected]["environments"]


def test_what_users_get_is_kept_at_each_rho_that_a_rule_may_choose(finished: RunFolder) -> None:
    result = finished.read_json("result.json")
    others = eligible_rhos(result["trade_off"], "ndcg@3", bigger=True) - {result["variant_weight"]}
    assert others  # or else nothing is kept
    rows = {row["rho"]: row for row in result["trade_off"]}
    with np.load(finished.path / PER_USER_RHO, allow_pickle=False) as kept:
        names = {
            (rho, name, metric) for rho in others for name, found in result["test_results"].items() for metric in found
        }
        assert set(kept) == {key_at(*name) for name in names}
        for rho, name, metric in names:
            assert kept[key_at(rho, name, metric)].mean() == pytest.approx(rows[rho][name][metric], abs=1e-4)


def test_what_users_get_at_the_own_rho_is_what_the_test_keeps(folder: Path) -> None:
    trainer, data = small(folder)
    trainer.evaluate(data.test, load_best_model=False)
    own = trainer.per_user().values
    found = per_user_at(trainer, {"test": data.test}, [0.0, float(trainer.model.rho)])
    for metric, values in own.items():
        assert np.array_equal(found[key_at(float(trainer.model.rho), "test", metric)], values)
    assert any((found[key_at(0.0, "test", metric)] != values).any() for metric, values in own.items())


def test_the_stored_best_model_has_the_chosen_rho(finished: RunFolder) -> None:
    result = finished.read_json("result.json")
    state = checkpoint.load(finished.best_model)
    assert float(state["state_dict"]["rho"]) == result["variant_weight"]
    assert (state["best_valid_score"], dict(state["best_valid_result"])) == (
        result["best_valid_score"],
        result["best_valid_result"],
    )
    valid = [record for record in finished.records("valid") if record["epoch"] >= 1]
    assert state["epoch"] == max(valid, key=lambda record: record["score"])["epoch"]
    _, model, *_ = load_data_and_model(finished.path)
    assert float(model.rho) == result["variant_weight"]


def test_the_best_model_chooses_and_not_the_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that fall from epoch to epoch keep the first model of the final training; the rho is the best for it."""
    measure, scores = PaInvRLTrainer._valid_epoch, iter([0.9, 0.8, 0.7, 0.6])

    def worse_each_time(trainer: PaInvRLTrainer, *arguments: Any, **keywords: Any) -> tuple[float, dict[str, float]]:
        return next(scores), measure(trainer, *arguments, **keywords)[1]

    monkeypatch.setattr(PaInvRLTrainer, "_valid_epoch", worse_each_time)
    result, run = whole_run(folder, variant_tolerance=0.0, learning_rate=0.1)
    assert checkpoint.load(run.best_model)["epoch"] == 1
    row = next(row for row in result["trade_off"] if row["rho"] == pytest.approx(result["variant_weight"]))
    assert row["valid"] == result["best_valid_result"]
    assert row["valid"]["ndcg@3"] == max(row["valid"]["ndcg@3"] for row in result["trade_off"])
    assert row["test"] == result["test_result"]


def test_the_worst_environment_can_choose_rho(finished: RunFolder) -> None:
    run = Run(finished.path)
    choice = choose(run, RULES["worst_environment"])
    scores = {
        row["rho"]: min(group["ndcg@3"] for group in row["environments"].values()) for row in run.result["trade_off"]
    }
    assert choice.rho == min(rho for rho, score in scores.items() if score == max(scores.values()))
    assert choose(run, RULES["iid_validation"]).is_own
    (record,) = finished.records("chosen")
    assert own_row(run)["environments"] == record["environments"]


def cut(patch: pytest.MonkeyPatch, name: str, before: bool) -> None:
    """Stops right before or right after a method of the trainer."""
    method = getattr(PaInvRLTrainer, name)

    def stopped(trainer: PaInvRLTrainer, *arguments: Any, **keywords: Any) -> Any:
        if not before:
            method(trainer, *arguments, **keywords)
        raise KeyboardInterrupt

    patch.setattr(PaInvRLTrainer, name, stopped)


@pytest.mark.parametrize(
    ("name", "before"),
    [("_choose_weight", True), ("_store_choice", True), ("_choose_weight", False), ("further_results", False)],
)
def test_a_kill_around_the_choice_changes_nothing(folder: Path, finished: RunFolder, name: str, before: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cut(patch, name, before)
        with pytest.raises(Interrupted) as interruption:
            run_recbole_painvrl("PaInvRL", "board", config_dict=run_keys(folder))
    run = RunFolder(interruption.value.folder)
    resume(run.path)
    assert untimed(run) == untimed(finished)
    tests = [record for record in without_times(finished) if record["event"] != "start"]
    assert [record for record in without_times(run) if record["event"] != "start"] == tests
    stored, expected = (checkpoint.load(one.best_model)["state_dict"] for one in (run, finished))
    assert all(torch.equal(stored[key], expected[key]) for key in expected)


def test_going_on_from_a_model_with_a_chosen_rho_validates_at_rho_one(folder: Path, finished: RunFolder) -> None:
    config = configuration("PaInvRL", folder, 5, **{**SMALL, "variant_weight": "validation"})
    trainer, data = started(config, RunFolder(folder / "more"))
    trainer.resume_checkpoint(finished.best_model)
    seen: list[float] = []
    trainer.fit(data.train, data.valid, verbose=False, callback_fn=lambda *_: seen.append(float(trainer.model.rho)))
    assert seen and set(seen) == {1.0}


@pytest.mark.parametrize("keys", [{"convert": "mask"}, {"n_rounds": 0}])
def test_where_there_is_no_variant_branch_there_is_nothing_to_choose(folder: Path, keys: dict[str, Any]) -> None:
    result, run = whole_run(folder, **keys)
    assert run.records("chosen") == []
    assert "variant_weight" not in result and "trade_off" not in result


@pytest.mark.parametrize("value", ["valid", -0.5, [0.5], float("nan"), float("inf")])
def test_other_words_and_numbers_are_refused(folder: Path, value: Any) -> None:
    with pytest.raises(UserError, match="variant_weight: expected a number from 0, or validation"):
        configuration("PaInvRL", folder, 3, **{**SMALL, "variant_weight": value})
