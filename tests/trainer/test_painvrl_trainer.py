"""PaInvRL's stages: when rounds run, what counts as best, what may change when, and exact continuation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl import checkpoint
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import Interrupted
from recbole_painvrl.quick_start import resume, run_recbole_painvrl
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.trainer import PaInvRLTrainer, RunMixin, rounds
from tests.inputs import write_checkerboard
from tests.trainer.test_run_trainer import STAGES, configuration, started, trained, without_times

SMALL = {**STAGES, "use_gpu": False, "id_dropout": 0.3, "batch_by": "interaction"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trainer_of(folder: Path, epochs: int, **keys: Any) -> tuple[Any, Any]:
    return started(configuration("PaInvRL", folder, epochs, **{**SMALL, **keys}), None)


# the schedule


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"warmup_epochs": 2, "n_rounds": 3}, {2: [0, 1, 2]}),
        ({"warmup_epochs": 2, "n_rounds": 3, "refit_each_round": True}, {2: [0], 4: [1], 6: [2]}),
        ({"warmup_epochs": 3, "n_rounds": 1, "refit_each_round": True}, {3: [0]}),
        ({"warmup_epochs": 0, "n_rounds": 2}, {0: [0, 1]}),
        ({"warmup_epochs": 0, "n_rounds": 2, "refit_each_round": True}, {0: [0, 1]}),
        ({"warmup_epochs": 5, "n_rounds": 0}, {}),
        ({"warmup_epochs": 2, "n_rounds": 3, "env_field": "environment"}, {2: [0]}),
        ({"warmup_epochs": 2, "n_rounds": 0, "env_field": "environment"}, {}),
        ({"warmup_epochs": 2, "n_rounds": 2, "env_field": "environment", "refit_each_round": True}, {2: [0], 4: [1]}),
    ],
)
def test_rounds_run_before_these_epochs(folder: Path, keys: dict, expected: dict[int, list[int]]) -> None:
    trainer, _ = trainer_of(folder, 10, **keys)
    due = {epoch: list(trainer.rounds_before(epoch)) for epoch in range(10)}
    assert {epoch: numbers for epoch, numbers in due.items() if numbers} == expected
    assert trainer.final_epoch == max(expected, default=0)


@pytest.mark.parametrize("keys", [{"n_rounds": 1}, {"n_rounds": 2, "refit_each_round": True}])
def test_epochs_must_reach_the_final_training(folder: Path, keys: dict) -> None:
    least = 2 * keys["n_rounds"] + 1
    trainer_of(folder, least, warmup_epochs=2, **keys)
    with pytest.raises(UserError, match="epochs must be more than the"):
        trainer_of(folder, least - 1, warmup_epochs=2, **keys)


@pytest.mark.parametrize(
    ("epochs", "eval_step", "fits"), [(12, 5, False), (15, 5, True), (12, 2, True), (11, 2, False)]
)
def test_a_validation_must_fall_into_the_final_training(folder: Path, epochs: int, eval_step: int, fits: bool) -> None:
    """Else the warm-up's best model would be tested in its place."""
    keys = {"warmup_epochs": 10, "n_rounds": 1, "eval_step": eval_step}
    if fits:
        trainer_of(folder, epochs, **keys)
        return
    with pytest.raises(
        UserError, match=f"eval_step {eval_step}: no validation falls between epoch 10, .*epoch {epochs}"
    ):
        trainer_of(folder, epochs, **keys)
    trainer_of(folder, epochs, **{**keys, "n_rounds": 0})


# one whole training, looked at after every epoch


@dataclass
class Course:
    """What was seen after each epoch: the model's buffers, word vectors and steps of Adam; and the records."""

    trainer: PaInvRLTrainer
    run: RunFolder
    masks: list[torch.Tensor] = field(default_factory=list)
    labels: list[torch.Tensor] = field(default_factory=list)
    stages: list[int] = field(default_factory=list)
    words: list[torch.Tensor] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def look(self, epoch_idx: int, valid_score: float) -> None:
        model = self.trainer.model
        self.masks.append(model.mask.clone())
        self.labels.append(model.environment.clone())
        self.stages.append(int(model.stage))
        self.words.append(model.content.tables["parity"].weight.detach().clone())
        self.steps.append(int(self.trainer.optimizer.state[model.user_embedding.weight]["step"]))


@pytest.fixture(scope="module", params=[False, True], ids=["at once", "refit"])
def course(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Two epochs of warm-up and two rounds, at once or with two epochs between them; 7 epochs in all."""
    place = tmp_path_factory.mktemp("course")
    keys = {
        "warmup_epochs": 2,
        "n_rounds": 2,
        "refit_each_round": request.param,
        "projection_reg_weight": 0.01,  # would shrink the word vectors, were they not frozen
        "modalities": {"spurious": None, "parity": {"source": "words", "field": "parity", "dimension": 3}},
        "output_dir": str(place),
        "checkpoint_dir": str(place),
        "stopping_step": 0,
    }
    config = configuration("PaInvRL", place, 7, **{**SMALL, **keys})
    trainer, data = started(config, RunFolder(place / "run"))
    seen = Course(trainer, trainer.run)
    scores = iter([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    measure = RunMixin._valid_epoch

    def worse_each_time(trainer: Any, valid_data: Any, show_progress: bool = False) -> tuple[float, dict]:
        score = next(scores)
        return score, {**measure(trainer, valid_data, show_progress)[1], "ndcg@20": score}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PaInvRLTrainer, "_valid_epoch", worse_each_time)
        trainer.fit(data.train, data.valid, verbose=False, callback_fn=seen.look)
    return seen


def test_events_come_in_the_order_of_the_stages(course: Course) -> None:
    events = [record["event"] for record in course.run.records()]
    epoch, round_ = ["train", "valid"], ["identification", "mask"]
    if course.trainer.refits:
        assert events == [*epoch * 2, *round_, *epoch * 2, *round_, *epoch * 2]
    else:
        assert events == [*epoch * 2, *round_ * 2, *epoch * 2]


def test_preparation_neither_stops_early_nor_counts_as_best(course: Course) -> None:
    """Scores fall from epoch to epoch and patience is 0: the first epoch of the final training is the best one."""
    final = 4 if course.trainer.refits else 2
    scores = [0.9, 0.8, 0.7, 0.6, 0.5]
    assert len(course.stages) == final + 2
    assert course.trainer.best_valid_score == scores[final]
    assert course.trainer.best_valid_result["ndcg@20"] == scores[final]
    best = checkpoint.load(course.run.best_model)
    assert best["epoch"] == final
    assert torch.equal(best["state_dict"]["mask"], course.masks[-1])


def test_mask_and_labels_change_with_rounds_only(course: Course) -> None:
    changes = [2, 4] if course.trainer.refits else [2]
    for epoch, (mask, labels) in enumerate(zip(course.masks, course.labels, strict=True)):
        if epoch < 2:
            assert bool((mask == 1).all())
            assert bool((labels == -1).all())
        else:
            assert bool(((mask >= 0) & (mask <= 1)).all())
            assert set(labels.tolist()) == {0, 1}
        if epoch:
            changed = not torch.equal(mask, course.masks[epoch - 1])
            assert changed == (epoch in changes)
    assert course.stages == [0, 0] + [1] * (len(course.stages) - 2)


def test_word_vectors_are_learned_in_the_warm_up_and_frozen_after_it(course: Course) -> None:
    assert not torch.equal(course.words[0], course.words[1])
    assert all(torch.equal(words, course.words[1]) for words in course.words[2:])


def test_each_new_recommender_has_a_new_optimizer(course: Course) -> None:
    """Two epochs a stage, 360 interactions in batches of 64."""
    assert course.steps == [6, 12] * (len(course.steps) // 2)


def test_records_say_what_identification_found(course: Course) -> None:
    rows = course.trainer.model.environment.numel()
    for number, record in enumerate(course.run.records("identification")):
        assert record["round"] == number
        assert sum(record["sizes"]) == rows
        assert 0 <= record["moved"] <= 1
        assert {"iteration", "moved", "objective", "sizes"} <= set(record["history"][0])
    assert course.run.records("identification")[0]["moved"] == 1.0
    assert record["sizes"] == torch.bincount(course.labels[-1]).tolist()


def test_records_say_what_mask_generation_found(course: Course) -> None:
    """With gradients of unit length the direction's squared length is (1 + cos) / 2, the stationarity."""
    for number, record in enumerate(course.run.records("mask")):
        assert record["round"] == number
        assert {"erm", "irm", "weight", "stationarity", "norm", "angle", "mean", "modalities"} <= set(record)
        assert len(record["history"]) == 3
        for row in [record, *record["history"]]:
            assert row["weight"] == 0.5
            assert row["stationarity"] == pytest.approx(row["norm"], abs=1e-5)
            assert row["erm"] > 0
            assert row["irm"] > 0
    mask = course.masks[-1]
    assert record["mean"] == pytest.approx(float(mask.mean()))
    assert record["modalities"] == pytest.approx({"spurious": float(mask[:4].mean()), "parity": float(mask[4:].mean())})


# exact continuation through the whole program


def interrupt_before(epoch: int) -> Callable[[pytest.MonkeyPatch], None]:
    def install(patch: pytest.MonkeyPatch) -> None:
        before_epoch = PaInvRLTrainer.before_epoch

        def stop(trainer: PaInvRLTrainer, epoch_idx: int, train_data: Any) -> None:
            if epoch_idx == epoch:
                raise KeyboardInterrupt
            before_epoch(trainer, epoch_idx, train_data)

        patch.setattr(PaInvRLTrainer, "before_epoch", stop)

    return install


def interrupt_inside(stage: str, call: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Stops at the second step that the stage reports in its ``call``-th run."""

    def install(patch: pytest.MonkeyPatch) -> None:
        function, calls = getattr(rounds, stage), []

        def stopped(*arguments: Any, **keywords: Any) -> Any:
            *others, callback = arguments
            steps: list[Any] = []

            def count(row: Any) -> None:
                callback(row)
                steps.append(row)
                if len(steps) == 2:
                    raise KeyboardInterrupt

            calls.append(stage)
            return function(*others, count if len(calls) == call else callback, **keywords)

        patch.setattr(rounds, stage, stopped)

    return install


def run_keys(folder: Path, refits: bool, **more: Any) -> dict[str, Any]:
    # sessions: single interactions are cut along one direction in a single step, inside which there is no place to stop
    identification = {"env_level": "session", "env_tolerance": 0.0}
    stages = {"warmup_epochs": 1, "n_rounds": 2, "refit_each_round": refits, "mask_steps": 3, **identification}
    sizes = {"embedding_size": 8, "feature_size": 4, "train_batch_size": 64, "epochs": 4}
    return write_checkerboard(folder / "data").config(**{**SMALL, **stages, **sizes, **more})


def artifacts(run: Path) -> dict[str, Any]:
    """Everything that a run leaves, but for times."""
    with np.load(run / "environments.npz", allow_pickle=False) as stored:
        labels = {name: stored[name].tolist() for name in stored.files}
    result = {k: v for k, v in RunFolder(run).read_json("result.json").items() if not k.startswith(("seconds", "peak"))}
    parameters = {name: value.tolist() for name, value in checkpoint.load(run / "model-best.pth")["state_dict"].items()}
    return {
        "labels": labels,
        "mask": (run / "mask.csv").read_text(),
        "result": result,
        "parameters": parameters,
        "records": without_times(RunFolder(run)),
    }


@pytest.fixture(scope="module", params=[False, True], ids=["at once", "refit"])
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, dict[str, Any]]:
    """What four epochs without an interruption leave."""
    place = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run_recbole_painvrl("PaInvRL", "board", config_dict=run_keys(place, request.param))
    (run,) = (place / "runs" / "board" / "PaInvRL").iterdir()
    return request.param, artifacts(run)


CUTS = {
    "right before the rounds": interrupt_before(1),
    "inside the first identification": interrupt_inside("identify_environments", 1),
    "inside the second mask": interrupt_inside("generate_mask", 2),
    "after the rounds": interrupt_before(3),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_run_continues_bit_for_bit_wherever_it_was_cut(
    folder: Path, straight: tuple[bool, dict], cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refits, expected = straight
    with monkeypatch.context() as patch:
        CUTS[cut](patch)
        patch.setattr(RunMixin, "_worth_saving", lambda trainer: True)
        with pytest.raises(Interrupted) as interruption:
            run_recbole_painvrl("PaInvRL", "board", config_dict=run_keys(folder, refits))
    run = interruption.value.folder
    assert not (run / "done").exists()
    resume(run)
    found = artifacts(run)
    for name, value in expected.items():
        assert found[name] == value, name


def test_two_cuts_are_no_worse_than_one(folder: Path, straight: tuple[bool, dict]) -> None:
    """A run cut in its first epoch, where nothing is stored yet, and again inside a mask."""
    refits, expected = straight
    with pytest.MonkeyPatch.context() as patch:
        interrupt_before(0)(patch)
        with pytest.raises(Interrupted) as interruption:
            run_recbole_painvrl("PaInvRL", "board", config_dict=run_keys(folder, refits))
    run = interruption.value.folder
    with pytest.MonkeyPatch.context() as patch:
        interrupt_inside("generate_mask", 1)(patch)
        with pytest.raises(Interrupted):
            resume(run)
    resume(run)
    assert artifacts(run) == expected


# ablations: values of keys, no other classes


def mask_records(folder: Path, name: str, **keys: Any) -> tuple[dict[str, Any], torch.Tensor]:
    """Trains one round and returns its record of the mask, and the mask."""
    run = RunFolder(folder / name)
    config = configuration("PaInvRL", folder, 2, **{**SMALL, "mask_steps": 6, "env_field": "environment", **keys})
    trainer, _ = trained(config, run)
    (record,) = run.records("mask")
    return record, trainer.model.mask


def test_without_rounds_it_is_erm(folder: Path) -> None:
    painvrl, _ = trained(configuration("PaInvRL", folder, 3, **{**SMALL, "n_rounds": 0, "warmup_epochs": 9}))
    shared = {key: painvrl.config[key] for key in ("rec_loss", "backbone", "n_layers", "temperature", "learning_rate")}
    erm, _ = trained(configuration("ERM", folder, 3, id_dropout=0.3, batch_by="interaction", use_gpu=False, **shared))
    assert painvrl.train_loss_dict == erm.train_loss_dict
    assert painvrl.best_valid_result == erm.best_valid_result


@pytest.mark.parametrize(("bounds", "weight"), [([0, 1], 0.0), ([1, 0], 1.0), ([0.25, 0.75], 0.25)])
def test_bounds_pin_the_weight_of_the_penalty(folder: Path, bounds: list[float], weight: float) -> None:
    """[0, 1] is ERM alone, [1, 0] the penalty alone: then the direction is one gradient, of unit length."""
    record, _ = mask_records(folder, "run", pareto_bounds=bounds)
    assert [row["weight"] for row in record["history"]] == [weight] * 6
    if weight in (0.0, 1.0):
        assert [row["norm"] for row in record["history"]] == pytest.approx([1.0] * 6)


def test_without_irm_the_penalty_does_not_matter(folder: Path) -> None:
    masks = {kind: mask_records(folder, kind, irm_penalty=kind, pareto_bounds=[0, 1])[1] for kind in ("gv", "irmv1")}
    assert torch.equal(masks["gv"], masks["irmv1"])
    assert not torch.equal(masks["gv"], mask_records(folder, "both", irm_penalty="gv")[1])


def test_fixed_weights_do_not_look_at_the_gradients(folder: Path) -> None:
    record, _ = mask_records(folder, "fixed", pareto_solver="fixed", irm_weight=3.0)
    assert [row["weight"] for row in record["history"]] == [0.75] * 6


@pytest.mark.parametrize(
    ("key", "values"), [("irm_penalty", ["gv", "irmv1", "vrex"]), ("pareto_normalize", ["l2", "loss", "loss+", "none"])]
)
def test_every_kind_makes_a_mask_of_its_own(folder: Path, key: str, values: list[str]) -> None:
    masks = [mask_records(folder, f"run{number}", **{key: value})[1] for number, value in enumerate(values)]
    assert all(bool(((mask >= 0) & (mask <= 1)).all()) for mask in masks)
    assert len({tuple(mask.tolist()) for mask in masks}) == len(values)


def test_the_masked_model_has_no_variant_branch(folder: Path) -> None:
    trainer, _ = trained(configuration("PaInvRL", folder, 2, **SMALL, convert="mask"))
    model = trainer.model
    assert int(model.stage) == 1
    assert not any("variant" in name or "attention" in name for name, _ in model.named_parameters())
    with torch.no_grad():
        expected = model.projection(model.content() * model.mask)
        torch.testing.assert_close(model.item_content(), expected)


def test_the_variant_weight_changes_inference_alone(folder: Path) -> None:
    """One training serves within and across environments."""
    within, _ = trained(configuration("PaInvRL", folder, 3, **SMALL, variant_weight=1.0))
    across, _ = trained(configuration("PaInvRL", folder, 3, **SMALL, variant_weight=0.0))
    assert within.train_loss_dict == across.train_loss_dict
    with torch.no_grad():
        assert not torch.equal(within.model.item_content(), across.model.item_content())


def test_labels_may_be_random(folder: Path) -> None:
    """No pass of assignment leaves the equally large random environments that the search starts from."""
    run = RunFolder(folder / "run")
    trained(configuration("PaInvRL", folder, 2, **{**SMALL, "env_max_iter": 0, "n_environments": 7}), run)
    (record,) = run.records("identification")
    assert record["history"] == []
    assert max(record["sizes"]) - min(record["sizes"]) <= 1
    assert len(record["sizes"]) == 7
