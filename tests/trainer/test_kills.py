"""Runs of PaInvRL that are ended at any moment go on to the very same end."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from recbole_painvrl import checkpoint, cli
from recbole_painvrl import signals as signals_of_package
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.trainer import RunMixin
from tests.endings import SECONDS, Moment, content, end, started, status_of
from tests.inputs import write_checkerboard

ROUNDS = {"warmup_epochs": 2, "n_rounds": 2, "n_environments": 2, "env_max_iter": 3, "mask_steps": 4}
SIZES = {"train_batch_size": 128, "embedding_size": 8, "feature_size": 4, "id_dropout": 0.3, "epochs": 5}
CHOICE = {"variant_weight": "validation", "variant_weights": [0.0, 0.5, 1.0]}

MODEL = "recbole_painvrl.model.general_recommender.painvrl:PaInvRL"
FILES = "recbole_painvrl.files:os"
TRAINER = "recbole_painvrl.trainer"
MOMENTS = [
    Moment("identification", "recbole_painvrl.trainer.rounds:permuted_control", 2),
    Moment("mask", "recbole_painvrl.invariance.mask:pareto_step", 6),
    Moment("final training", f"{MODEL}.branches", 5),
    Moment("a checkpoint before it is on the disk", f"{FILES}.fsync", 6),
]
MORE = [
    Moment("before the first epoch is recorded", f"{MODEL}.calculate_loss", 1),
    Moment("warm-up", f"{MODEL}.calculate_loss", 5),
    Moment("convert", f"{MODEL}.begin_final", 1),
    Moment("test", f"{TRAINER}:RunMixin.per_user", 2),
    Moment("the configuration is written", f"{FILES}.replace", 1),
    Moment("the first checkpoint has its name", f"{FILES}.replace", 2, after=True),
    Moment("a checkpoint is about to get its name", f"{FILES}.replace", 5),
    Moment("identification of the first round", "recbole_painvrl.trainer.rounds:permuted_control", 1, after=True),
    Moment("first step of the mask", "recbole_painvrl.invariance.mask:pareto_step", 1),
    Moment("converted", f"{MODEL}.begin_final", 1, after=True),
    Moment("validation", f"{TRAINER}:RunMixin._valid_epoch", 2),
    Moment("validation of the final training", f"{TRAINER}:RunMixin._valid_epoch", 4, after=True),
    Moment("rho is chosen", "recbole_painvrl.trainer.painvrl_trainer:choose_weight", 1),
    Moment("rho is stored", f"{TRAINER}:PaInvRLTrainer._store_choice", 1, after=True),
    Moment("mask.csv", f"{TRAINER}:PaInvRLTrainer.write_artifacts", 1),
    Moment("the result is written", "recbole_painvrl.report.records:RunFolder.finish", 1),
]
SECOND_EPOCH = Moment("before the steps of the second epoch", f"{TRAINER}:PaInvRLTrainer._note_plain_score", 2)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line but for ``output_dir``."""
    board = write_checkerboard(tmp_path_factory.mktemp("data"))
    keys = board.config(**ROUNDS, **SIZES, **CHOICE, use_gpu=False)
    values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in keys.items()}
    return ["-m", "PaInvRL", "-d", "board", *(f"--{key}={value}" for key, value in values.items())]


@pytest.fixture(scope="module")
def straight(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    return made(words, tmp_path_factory.mktemp("straight"))


def made(words: list[str], folder: Path) -> Path:
    assert status_of(lambda: cli.main([*words, f"--output_dir={folder}"]), folder / "output") == 0
    return only_run(folder)


def only_run(folder: Path) -> Path:
    (run,) = (folder / "board" / "PaInvRL").iterdir()
    return run


def continued(words: list[str], folder: Path) -> Path:
    """Continues what was ended, or starts anew what had not begun; returns its folder."""
    run = only_run(folder)
    again = [f"--resume={run}"] if RunFolder(run).started else [*words, f"--output_dir={folder}"]
    output = folder / "output"
    assert status_of(lambda: cli.main(again), output) == 0, output.read_text()
    return run


def ended(words: list[str], folder: Path, moment: Moment, number: int, saves: bool = True) -> int:
    """Runs the command until a moment, with a checkpoint before every epoch or none; returns its process's status."""

    def work() -> int:
        RunMixin._worth_saving = lambda trainer: saves
        moment.arm(lambda: end(number))
        return cli.main([*words, f"--output_dir={folder}"])

    return status_of(work, folder / "output")


def epoch_of(run: Path) -> int:
    """The last epoch of which a checkpoint knows."""
    return int(checkpoint.load(RunFolder(run).last_model)["epoch"])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_epoch_end_and_stores_it(
    words: list[str], straight: Path, tmp_path: Path, number: int, status: int
) -> None:
    """Nothing would have been stored but for the signal, which comes as the second epoch begins."""
    assert ended(words, tmp_path, SECOND_EPOCH, number, saves=False) == status
    run, said = only_run(tmp_path), (tmp_path / "output").read_text()
    assert said.splitlines()[-1] == f"interrupted; continue with --resume={run}"
    assert "Traceback" not in said
    assert [one["epoch"] for one in RunFolder(run).records("valid")] == [0, 1]
    assert epoch_of(run) == 1
    assert content(continued(words, tmp_path)) == content(straight)


def test_a_signal_ends_a_round_at_its_next_step(words: list[str], straight: Path, tmp_path: Path) -> None:
    """What was before the round is stored without any signal: rounds are long."""
    step = Moment("mask", "recbole_painvrl.invariance.mask:pareto_step", 2)
    assert ended(words, tmp_path, step, signal.SIGTERM, saves=False) == 143
    run = only_run(tmp_path)
    assert RunFolder(run).records()[-1]["event"] == "identification"
    assert epoch_of(run) == 1
    assert content(continued(words, tmp_path)) == content(straight)


@pytest.mark.parametrize("how", ["twice", "too slow"])
def test_a_second_signal_or_a_long_epoch_ends_it_at_once(words: list[str], tmp_path: Path, how: str) -> None:
    def signals() -> None:
        signals_of_package.PATIENCE_SECONDS = 0.0 if how == "too slow" else 1e6
        end(signal.SIGTERM)
        if how == "twice":
            end(signal.SIGTERM)

    def work() -> int:
        SECOND_EPOCH.arm(signals)
        return cli.main([*words, f"--output_dir={tmp_path}"])

    assert status_of(work, tmp_path / "output") == 143
    assert [one["epoch"] for one in RunFolder(only_run(tmp_path)).records("train")] == [0]


@pytest.mark.parametrize("limit", [200, 9_000], ids=["log", "checkpoint"])
def test_a_full_disk_is_told_in_one_line_and_the_run_goes_on_later(
    words: list[str], straight: Path, tmp_path: Path, limit: int
) -> None:
    """The kernel refuses what is beyond a size: the log soon, which is before training, or the first checkpoint."""

    def work() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        return cli.main([*words, f"--output_dir={folder}"])

    folder = tmp_path / "out"
    read, write = os.pipe()
    assert status_of(work, Path(f"/dev/fd/{write}")) == 2
    os.close(write)
    with open(read, encoding="utf-8") as said:
        lines = said.read().splitlines()
    assert lines[-1].startswith("error: ") and "the disk is full" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    assert not list(folder.rglob("*.part"))
    if limit == 9_000:
        assert content(continued(words, folder)) == content(straight)
    else:
        assert not list(folder.rglob("config.yaml"))


def read_only(folder: Path) -> None:
    """From now on this process finds everything below ``folder`` on a disk that takes no more writes."""

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in ("os.mkdir", "os.rename", "os.remove", "os.truncate", "os.link")
        if event == "open" and isinstance(arguments[2], int):
            writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and isinstance(arguments[0], str | Path) and folder in Path(arguments[0]).absolute().parents:
            raise OSError(errno.EROFS, "Read-only file system", str(arguments[0]))

    sys.addaudithook(refuse)


@pytest.mark.parametrize("moment", [None, SECOND_EPOCH], ids=["from the start", "in training"])
def test_a_read_only_folder_is_told_in_one_line(
    words: list[str], straight: Path, tmp_path: Path, moment: Moment | None
) -> None:
    """At once if nothing can be written, not after hours; and a run goes on where its disk gave way."""
    folder = tmp_path / "out"
    folder.mkdir()

    def work() -> int:
        if moment is None:
            read_only(folder)
        else:
            moment.arm(lambda: read_only(folder))
        return cli.main([*words, f"--output_dir={folder}"])

    assert status_of(work, tmp_path / "said") == 2
    lines = (tmp_path / "said").read_text().splitlines()
    assert lines[-1].startswith("error: ") and str(folder) in lines[-1] and "(Read-only file system)" in lines[-1]
    assert "--output_dir" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    assert any("epoch 0 training" in line for line in lines) == (moment is not None)
    if moment is None:
        assert not list(folder.iterdir())
    else:
        assert content(continued(words, folder)) == content(straight)


def check_killed(words: list[str], straight: Path, folder: Path, moment: Moment) -> None:
    assert ended(words, folder, moment, signal.SIGKILL) == -signal.SIGKILL
    assert not RunFolder(only_run(folder)).finished
    assert content(continued(words, folder)) == content(straight)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
def test_a_run_that_was_killed_goes_on_to_the_same_end(
    words: list[str], straight: Path, tmp_path: Path, moment: Moment
) -> None:
    check_killed(words, straight, tmp_path, moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MORE, ids=lambda moment: moment.name)
def test_it_may_be_killed_at_any_of_twenty_moments(
    words: list[str], straight: Path, tmp_path: Path, moment: Moment
) -> None:
    check_killed(words, straight, tmp_path, moment)


@pytest.mark.slow
def test_it_may_be_killed_again_and_again(words: list[str], straight: Path, tmp_path: Path) -> None:
    """Twenty kills of one run, at times drawn from a seed, and as many as that leaves it to live."""
    draw, began = random.Random(7), time.monotonic()
    made(words, tmp_path_again(tmp_path))
    seconds = time.monotonic() - began
    command = [*words, f"--output_dir={tmp_path}"]
    for _ in range(20):
        process = started(lambda: cli.main([*command, "--resume"]), tmp_path / "output")
        process.join(draw.uniform(0, seconds))
        if process.exitcode is None:
            process.kill()
        process.join(SECONDS)
    run = only_run(tmp_path)
    if not RunFolder(run).finished:
        continued(words, tmp_path)
    assert content(run) == content(straight)


def tmp_path_again(folder: Path) -> Path:
    (folder / "again").mkdir()
    return folder / "again"
