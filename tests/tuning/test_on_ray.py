"""Searches with Ray Tune: what a trial reports, and on a cluster of this machine's own, the whole."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from recbole_painvrl import cli
from recbole_painvrl.comparison import on_ray
from recbole_painvrl.config import config_hash
from recbole_painvrl.quick_start import configure
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.tuning import on_ray as tuning_on_ray
from recbole_painvrl.tuning.plan import Search, plan
from recbole_painvrl.tuning.ray_trial import Reports, reported
from recbole_painvrl.tuning.trial import TrialFolder, validate
from tests.comparison.conftest import Flags
from tests.tuning.test_search import mended, the_search, without_times


def test_a_continued_trial_reports_again_what_it_did(folder: Path) -> None:
    seen: list[float] = []
    first = Reports(folder, seen.append)
    for epoch in range(4):
        first.add(epoch, epoch / 10)
    again = Reports(folder, seen.append)
    again.add(2, 0.7)  # it was stored after epoch 1 and trains epochs 2 and 3 once more
    again.add(3, 0.8)
    again.replay()
    assert seen == [0.0, 0.1, 0.2, 0.3, 0.0, 0.1, 0.7, 0.8]
    assert reported(folder) == {0: 0.0, 1: 0.1, 2: 0.7, 3: 0.8}
    ended = Reports(folder, seen.append)
    ended.replay()
    assert seen[8:] == [0.0, 0.1, 0.7, 0.8]


def test_a_half_written_report_is_none(folder: Path) -> None:
    (folder / "reports.jsonl").write_text("[0, 0.5]\n[1, 0.")
    assert reported(folder) == {0: 0.5}


@pytest.mark.parametrize(
    ("model", "more", "reports"),
    [
        ("PaInvRL", {"n_rounds": 1}, [2, 3, 4]),
        ("InvRL", {"n_rounds": 2, "refit_each_round": True}, [4]),
        ("PaInvRL", {"n_rounds": 0}, [0, 1, 2, 3, 4]),
        ("BPR", {}, [0, 1, 2, 3, 4]),
    ],
)
def test_a_trial_reports_its_final_training_alone(
    keys: Callable[..., dict[str, str]], folder: Path, model: str, more: dict[str, Any], reports: list[int]
) -> None:
    stages = {"warmup_epochs": 2, "n_environments": 2, "mask_steps": 3, "env_level": "interaction"}
    small = keys(epochs=5, feature_size=4, **(stages if model != "BPR" else {}), **more)
    seen: list[tuple[int, float]] = []
    validate(configure(model, "board", command_line=small), folder / "trial", lambda *told: seen.append(told))
    assert [epoch for epoch, _ in seen] == reports
    events = {event["epoch"]: event["score"] for event in TrialFolder(folder / "trial").records("valid")}
    assert sorted(events) == [0, 1, 2, 3, 4]
    bests = [max(events[epoch] for epoch in reports[: place + 1]) for place in range(len(reports))]
    assert [score for _, score in seen] == bests


def words(flags: Flags, space: str, **keys: object) -> list[str]:
    Path("space.hyper").write_text(space)
    given = [word for word in flags(**keys) if not word.startswith("--embedding_size")]
    return ["-m", "BPR", "-d", "board", *given, "--params_file=space.hyper", "--tool=Ray"]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--algo=tpe"], "--tool=Ray draws at random"),
        (["--gpu_id=0"], "Ray deals GPUs out"),
        (["--grace_period=0"], "--grace_period: expected a number of at least 1"),
        (["--gpus_per_trial=-1"], "--gpus_per_trial: expected a number from 0"),
        (["--storage_path=space.hyper"], "--storage_path=space.hyper: is a file, expected a folder"),
        (["--storage_path=space.hyper/ray"], "space.hyper is a file, no folder; choose another"),
        (["--storage_path=s3://bucket/ray"], "--storage_path=s3://bucket/ray: is an address, expected a folder"),
    ],
)
def test_what_ray_cannot_do_is_told(
    flags: Flags, capsys: pytest.CaptureFixture, more: list[str], complaint: str
) -> None:
    assert cli.main([*words(flags, "embedding_size choice [4, 5]"), *more]) == 2
    assert complaint in capsys.readouterr().err
    assert not Path("runs").exists()


def test_without_ray_it_is_told(flags: Flags, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(words(flags, "embedding_size choice [4, 5]")) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: --tool=Ray: Ray cannot be imported (import of ray halted")
    assert message.endswith("or use --tool=Hyperopt for processes on this machine")


@pytest.fixture
def tuner(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stands for ``ray.tune.Tuner``, which makes no trial here, on a cluster that is none."""
    try:
        import ray.tune  # noqa: F401
    except (ImportError, AttributeError) as error:  # the latter by the names that numpy 2 has no more
        pytest.skip(f"Ray cannot be imported: {error}")
    cluster = Mock(cluster_resources=lambda: {"CPU": 1.0})
    monkeypatch.setattr(tuning_on_ray, "connected", lambda *words: cluster)
    monkeypatch.setattr("ray.tune.Tuner", tuner := Mock())
    return tuner


@pytest.fixture
def graces(tuner: Mock, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The grace period of each search that is handed to Tune."""
    seen: list[int] = []
    asha = tuning_on_ray.asha

    def noted(trials: Any, grace_period: int) -> Any:
        seen.append(grace_period)
        return asha(trials, grace_period)

    monkeypatch.setattr(tuning_on_ray, "asha", noted)
    return seen


def test_a_continued_search_keeps_its_grace_period(
    flags: Flags, graces: list[int], capsys: pytest.CaptureFixture
) -> None:
    assert cli.main([*words(flags, "embedding_size choice [4, 5]", epochs=20), "--grace_period=9"]) == 1
    path = the_search().path
    for more in ([], ["--grace_period=9"], ["--max_concurrent=1"]):
        assert cli.main([f"--resume={path}", *more]) == 1
    assert graces == [9] * 4
    assert cli.main([f"--resume={path}", "--grace_period=5"]) == 2
    assert f"--grace_period=5: the search in {path} has 9" in capsys.readouterr().err
    assert the_search().command["grace_period"] == 9


def test_a_search_whose_grace_period_was_not_recorded_has_five(flags: Flags, graces: list[int]) -> None:
    assert cli.main(words(flags, "embedding_size choice [4, 5]", epochs=20)) == 1
    record = the_search()
    record.command.pop("grace_period", None)
    mended(record.path / "search.json", command=record.command)
    assert cli.main([f"--resume={record.path}"]) == 1
    assert graces == [5, 5]


def test_another_grace_period_is_another_search(keys: Callable[..., dict[str, str]]) -> None:
    given = {key: value for key, value in keys().items() if key != "embedding_size"}
    search = Search("BPR", "board", 1, (), given, "space.hyper", "embedding_size choice [4, 5]", "Ray")
    folders = [plan(replace(search, grace_period=grace)).record.path for grace in (5, 2, 3)]
    assert len(set(folders)) == 3
    on_processes = plan(replace(search, tool="Hyperopt", grace_period=2)).record.path
    # as before it was looked at, where nothing is said of it and with the tool that has none
    for tool, path in (("Ray", folders[0]), ("Hyperopt", on_processes)):
        content = [config_hash(plan(search).base), ["Choice(name='embedding_size', options=(4, 5))"], tool, "random"]
        assert path.name == hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def test_no_trial_is_cut_before_its_own_epochs(flags: Flags, tuner: Mock) -> None:
    """The scheduler ends what reports more often than any trial does, also where the space has more epochs."""
    given = [word for word in words(flags, "epochs choice [4, 40]") if not word.startswith("--epochs")]
    assert cli.main([*given, "--eval_step=2", "--algo=exhaustive"]) == 1
    (call,) = tuner.call_args_list
    assert call.kwargs["tune_config"].scheduler._max_t == 21


def test_a_continued_search_keeps_what_its_trials_get(
    flags: Flags, tuner: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses: list[str | None] = []
    cluster = Mock(cluster_resources=lambda: {"CPU": 4.0, "GPU": 1.0})
    monkeypatch.setattr(tuning_on_ray, "connected", lambda address, *words: addresses.append(address) or cluster)
    monkeypatch.setattr("ray.tune.with_resources", given := Mock())
    more = ["--storage_path=shared", "--max_concurrent=3", "--cpus_per_trial=2", "--gpus_per_trial=0.5"]
    assert cli.main([*words(flags, "embedding_size choice [4, 5]"), *more, "--address=here:1"]) == 1
    path = the_search().path
    assert cli.main([f"--resume={path}"]) == 1
    assert cli.main([f"--resume={path}", "--cpus_per_trial=4", "--address=there:1"]) == 1
    assert cli.main([f"--resume={path}"]) == 1
    assert addresses == ["here:1", "here:1", "there:1", "there:1"]
    assert [call.args[1] for call in given.call_args_list] == [{"cpu": cpu, "gpu": 0.5} for cpu in (2, 2, 4, 4)]
    for call in tuner.call_args_list:
        assert call.kwargs["tune_config"].max_concurrent_trials == 3
        assert call.kwargs["run_config"].storage_path == str(Path("shared").resolve())


def test_searches_of_the_same_second_have_names_of_their_own(
    flags: Flags, tuner: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda *words: "20300101-120000")
    for output_dir in ("one", "two", "two"):
        more = [f"--output_dir={output_dir}", "--storage_path=shared"]
        assert cli.main([*words(flags, "embedding_size choice [4, 5]"), *more]) == 1
    configs = [call.kwargs["run_config"] for call in tuner.call_args_list]
    assert {config.storage_path for config in configs} == {str(Path("shared").resolve())}
    assert len({config.name for config in configs}) == 3
    assert all(config.name.startswith(f"20300101-120000-{the_search('one').path.name}-") for config in configs)


@pytest.fixture
def ray_starts() -> None:
    """Skips the test where Ray cannot start."""
    try:
        import ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        ray.shutdown()
    except Exception as error:
        pytest.skip(f"Ray cannot start here: {error}")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_search_that_goes_on_later(ray_starts: None, flags: Flags, number: int, status: int) -> None:
    """Ray takes SIGTERM for itself where nobody takes it back: the search would end with a crash report."""
    program = Path(cli.__file__).parents[1] / "run_recbole_painvrl.py"
    command = words(
        flags, "learning_rate choice [0.01, 0.02]", epochs=1_000_000, stopping_step=1_000_000, eval_step=100
    )
    command += ["--num_samples=2"]
    with open("said", "wb") as said:
        search = subprocess.Popen([sys.executable, str(program), *command], stdout=said, stderr=said)
    deadline = time.monotonic() + 200
    while not any(Path("runs/searches").glob("*/trials/*/records.jsonl")):
        assert search.poll() is None and time.monotonic() < deadline, Path("said").read_text()
        time.sleep(0.2)
    search.send_signal(number)
    assert search.wait(120) == status
    *_, last = Path("said").read_text().splitlines()
    record = the_search()
    assert last == f"interrupted (0 of 2 trials done); continue with --resume={record.path}"
    assert "interrupted" in {trial.state for trial in record.trials}


@pytest.mark.slow
def test_asha_stops_what_is_not_promising(
    ray_starts: None, flags: Flags, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(on_ray, "usable_cores", lambda: 2)
    space = "learning_rate loguniform -12,-2\nembedding_size choice [4, 8, -1]\n"
    command = words(flags, space, epochs=60, stopping_step=60)
    assert cli.main([*command, "--num_samples=8", "--grace_period=2", "--gpus_per_trial=1"]) == 2
    assert "--gpus_per_trial: a trial asks for 1, but the cluster has 0" in capfd.readouterr().err
    assert cli.main([*command, "--num_samples=8", "--grace_period=2", "--max_concurrent=1"]) == 0
    record = the_search()
    states = {trial.state for trial in record.trials}
    assert states == {"done", "stopped", "failed"}
    assert "negative dimension" in next(trial for trial in record.trials if trial.state == "failed").error
    stopped = [trial for trial in record.trials if trial.state == "stopped"]
    assert all(trial.epochs < 60 and trial.score is not None for trial in stopped)
    assert RunFolder(record.winner["folder"]).finished
    before = without_times(record)
    assert cli.main([f"--resume={record.path}", "--num_samples=10"]) == 0
    after = the_search()
    ended = [number for number, trial in enumerate(before) if trial["state"] in ("done", "stopped")]
    assert [without_times(after)[number] for number in ended] == [before[number] for number in ended]
    assert len(after.trials) == 10
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
