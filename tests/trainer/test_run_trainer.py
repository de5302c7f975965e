"""RecBole's trainers with run folders: 2 + 2 epochs are 4, bit for bit, and files are plain data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl import checkpoint
from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import Prepared, prepare
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.utils import get_trainer
from tests.inputs import write_checkerboard

KEYS = {"train_batch_size": 64, "embedding_size": 8, "feature_size": 4, "id_dropout": 0.3}
RESUMED = [
    "BPR",
    "MultiVAE",
    "RecVAE",
    "ERM",
    "PaInvRL",
    "MF",
    "VBPR",
    "MMGCN",
    "GRCN",
    "FREEDOM",
    "LATTICE",
    "MGCN",
    "BM3",
    "SLMRec",
    "InvRL",
]
STAGES = {"warmup_epochs": 1, "n_rounds": 1, "n_environments": 2, "env_max_iter": 2, "mask_steps": 3}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configuration(model: str, folder: Path, epochs: int, **more: Any) -> Config:
    """Every model learns the checkerboard: ERM and PaInvRL with our loader, BPR and the others with RecBole's."""
    board = write_checkerboard(folder / "data")
    return Config(model, board.name, config_dict={**board.config(), **KEYS, **more, "epochs": epochs})


def started(config: Config, run: RunFolder | None) -> tuple[Any, Prepared]:
    data = prepare(config)
    trainer = get_trainer(config)(config, data.model)
    if run:
        run.path.mkdir(exist_ok=True)
        trainer.attach(run)
    return trainer, data


def trained(config: Config, run: RunFolder | None = None, resume: Path | None = None) -> tuple[Any, Prepared]:
    trainer, data = started(config, run)
    if resume:
        trainer.resume_checkpoint(resume)
    trainer.fit(data.train, data.valid, verbose=False, saved=run is not None)
    return trainer, data


def assert_equal_states(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def without_times(run: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in ("time", "cpu", "seconds")} for record in run.records()]


@pytest.mark.parametrize("model", RESUMED)
def test_two_and_two_epochs_equal_four(folder: Path, model: str) -> None:
    whole, parts = RunFolder(folder / "whole"), RunFolder(folder / "parts")
    stages = STAGES if model in ("PaInvRL", "InvRL") else {}
    straight, _ = trained(configuration(model, folder, 4, **stages), whole)
    trained(configuration(model, folder, 2, **stages), parts)
    resumed, _ = trained(configuration(model, folder, 4, **stages), parts, resume=parts.last_model)
    assert_equal_states(straight.model, resumed.model)
    assert straight.train_loss_dict == resumed.train_loss_dict
    assert straight.best_valid_score == resumed.best_valid_score
    assert straight.best_valid_result == resumed.best_valid_result
    assert without_times(whole) == without_times(parts)


class Stop(Exception):
    """Ends training at a chosen point."""


def stop_in(epoch: int):
    def before_epoch(epoch_idx: int, train_data: object) -> None:
        if epoch_idx == epoch:
            raise Stop

    return before_epoch


def test_a_crash_in_an_epoch_continues_at_its_start(folder: Path) -> None:
    straight, _ = trained(configuration("BPR", folder, 4), RunFolder(folder / "whole"))
    run = RunFolder(folder / "parts")
    trainer, data = started(configuration("BPR", folder, 4), run)
    trainer.before_epoch = stop_in(3)
    trainer._worth_saving = lambda: True
    with pytest.raises(Stop):
        trainer.fit(data.train, data.valid, verbose=False)
    run.record("train", epoch=3, loss=0.0)  # what the crashed epoch left behind
    resumed, _ = trained(configuration("BPR", folder, 4), run, resume=run.last_model)
    assert resumed.start_epoch == 3
    assert_equal_states(straight.model, resumed.model)
    assert without_times(run) == without_times(RunFolder(folder / "whole"))


def test_the_best_model_resumes_too(folder: Path) -> None:
    straight, _ = trained(configuration("BPR", folder, 3), RunFolder(folder / "whole"))
    run = RunFolder(folder / "parts")
    trained(configuration("BPR", folder, 2), run)
    state = checkpoint.load(run.best_model)
    assert state["best_valid_result"]["ndcg@20"] == state["best_valid_score"]
    resumed, _ = trained(configuration("BPR", folder, 3), RunFolder(folder / "more"), resume=run.best_model)
    assert state["epoch"] == 1
    assert_equal_states(straight.model, resumed.model)


def test_a_stopped_training_stays_stopped(folder: Path) -> None:
    run = RunFolder(folder / "run")
    stopping = {"stopping_step": 0, "metrics": ["Recall"], "valid_metric": "Recall@20"}
    config = configuration("BPR", folder, 3, **stopping)
    trainer, data = started(config, run)
    scores = iter([0.5, 0.4])
    trainer.evaluate = lambda *args, **kwargs: {"recall@20": next(scores)}
    trainer.fit(data.train, data.valid, verbose=False)
    best = run.best_model.read_bytes()
    resumed, _ = trained(config, run, resume=run.last_model)
    assert sorted(resumed.train_loss_dict) == [0, 1]
    assert resumed.best_valid_score == 0.5
    assert run.best_model.read_bytes() == best


def test_resuming_a_finished_training_keeps_the_best_model(folder: Path) -> None:
    run = RunFolder(folder / "run")
    trained(configuration("BPR", folder, 2), run)
    best = run.best_model.read_bytes()
    trained(configuration("BPR", folder, 2), run, resume=run.last_model)
    assert run.best_model.read_bytes() == best


def test_one_record_an_event_with_plain_numbers(folder: Path) -> None:
    run = RunFolder(folder / "run")
    trainer, _ = trained(configuration("BPR", folder, 2), run)
    assert [one["event"] for one in run.records()] == ["train", "valid", "train", "valid"]
    assert [one["loss"] for one in run.records("train")] == list(trainer.train_loss_dict.values())
    assert all(one["seconds"] > 0 for one in run.records())
    assert run.records("valid")[-1]["result"]["ndcg@20"] == run.records("valid")[-1]["score"]


def test_evaluation_returns_plain_floats_and_users(folder: Path) -> None:
    trainer, data = trained(configuration("BPR", folder, 1, metric_decimal_place=10), RunFolder(folder / "run"))
    result = trainer.evaluate(data.test)
    assert {type(value) for value in result.values()} == {float}
    per_user = trainer.per_user()
    assert per_user.users.tolist() == data.test.uid_list.tolist()
    assert np.mean(per_user.values["recall@10"]) == pytest.approx(result["recall@10"], abs=1e-9)


def test_without_a_run_folder_recboles_place_is_used(folder: Path) -> None:
    config = configuration("BPR", folder, 1, checkpoint_dir="elsewhere")
    trainer, data = started(config, None)
    trainer.fit(data.train, data.valid, verbose=False)
    assert [path.parent.name for path in Path("elsewhere").glob("BPR-*.pth")] == ["elsewhere"]
    first = trainer.evaluate(data.test)
    other, data = started(config, None)
    assert other.evaluate(data.test, model_file=trainer.saved_model_file) == first


def test_resuming_does_not_overwrite_the_resumed_file(folder: Path) -> None:
    trainer, _ = trained(configuration("BPR", folder, 1), RunFolder(folder / "first"))
    kept = trainer.run.best_model.read_bytes()
    resumed, data = started(configuration("BPR", folder, 2), None)
    resumed.resume_checkpoint(trainer.run.best_model)
    resumed.fit(data.train, data.valid, verbose=False)
    assert trainer.run.best_model.read_bytes() == kept


def test_unsaved_training_writes_no_model(folder: Path) -> None:
    run = RunFolder(folder / "run")
    trainer, data = started(configuration("BPR", folder, 2), run)
    trainer.fit(data.train, data.valid, verbose=False, saved=False)
    assert not list(run.path.glob("*.pth"))


def test_another_models_checkpoint_is_refused(folder: Path) -> None:
    run = RunFolder(folder / "run")
    trained(configuration("BPR", folder, 1), run)
    other, _ = started(configuration("LightGCN", folder, 1), None)
    with pytest.raises(UserError, match="a checkpoint of BPR, not of LightGCN"):
        other.resume_checkpoint(run.best_model)


def test_a_loss_that_is_not_a_number_is_a_users_error(folder: Path) -> None:
    trainer, data = started(configuration("BPR", folder, 1), None)
    with torch.no_grad():
        data.model.user_embedding.weight.fill_(math.nan)
    with pytest.raises(UserError, match=r"not a number in epoch 0, batch 0 .*: learning_rate 0\.001"):
        trainer.fit(data.train, data.valid, verbose=False)


@pytest.mark.parametrize("model", ["Pop", "ItemKNN", "EASE", "LightGCN"])
def test_declared_state_of_recboles_models_is_stored(folder: Path, model: str) -> None:
    """Pop keeps tensors beside its parameters, ItemKNN and EASE sparse matrices and arrays, LightGCN cached vectors."""
    config = configuration(model, folder, 1)
    trainer, data = trained(config, RunFolder(folder / "run"))
    expected = trainer.evaluate(data.test)
    fresh, data = started(config, None)
    assert fresh.evaluate(data.test, model_file=trainer.saved_model_file) == expected


def test_parts_of_the_loss_are_named(folder: Path) -> None:
    run = RunFolder(folder / "run")
    trainer, data = started(configuration("BPR", folder, 1), run)
    single = data.model.calculate_loss
    data.model.calculate_loss = lambda batch: (single(batch), 2 * single(batch))
    data.model.loss_names = ("erm", "irm")
    trainer.fit(data.train, data.valid, verbose=False)
    losses = run.records("train")[0]["losses"]
    assert losses["irm"] == pytest.approx(2 * losses["erm"])
    assert "erm" in trainer._generate_train_loss_output(0, 0.0, 1.0, (1.0, 2.0))


def test_nothing_is_written_into_the_working_directory(folder: Path) -> None:
    trained(configuration("BPR", folder, 1, output_dir="out", checkpoint_dir="out"), RunFolder(folder / "run"))
    assert {path.name for path in folder.iterdir()} == {"data", "out", "run"}


def test_saving_takes_no_more_than_its_share_of_the_time(folder: Path) -> None:
    trainer, data = started(configuration("BPR", folder, 4), RunFolder(folder / "run"))
    saved = []
    trainer._save = lambda file, epoch, **kwargs: saved.append((Path(file).name, epoch))
    trainer._save_seconds, trainer._saved_at = 1e6, 0.0
    trainer.fit(data.train, data.valid, verbose=False)
    assert [one for one in saved if one[0] == "model-last.pth"] == [("model-last.pth", 4)]
