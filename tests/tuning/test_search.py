"""Searches from their command to their winner: validation alone, failures, continuation, records."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recbole_painvrl import cli, experiment
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.runs import find_runs
from recbole_painvrl.trainer import RunMixin
from recbole_painvrl.tuning.record import Record, read
from recbole_painvrl.tuning.trial import TrialFolder
from tests.comparison.conftest import Flags

GRID = "learning_rate choice [0.001, 0.05]  # two\nembedding_size intrange 4,5\n"
Search = Callable[..., list[str]]


@pytest.fixture
def search(flags: Flags) -> Search:
    """The words of a search over :data:`GRID`, or another ``space``, with BPR."""

    def words(*more: str, space: str = GRID, **keys: Any) -> list[str]:
        Path("space.hyper").write_text(space)
        given = [word for word in flags(**keys) if not word.startswith("--embedding_size")]
        return ["-m", "BPR", "-d", "board", *given, "--params_file=space.hyper", "--parallel=1", *more]

    return words


def the_search(output_dir: str = "runs") -> Record:
    (path,) = Path(output_dir, "searches").iterdir()
    return read(path)


def without_times(record: Record) -> list[dict[str, Any]]:
    return [{key: value for key, value in vars(trial).items() if key != "seconds"} for trial in record.trials]


def test_all_of_the_grid_then_one_ordinary_run(search: Search, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(search("--algo=exhaustive", "--output_file=found.txt")) == 0
    record = the_search()
    grid = [{"learning_rate": rate, "embedding_size": size} for rate in (0.001, 0.05) for size in (4, 5)]
    assert [trial.parameters for trial in record.trials] == grid
    assert {trial.state for trial in record.trials} == {"done"}
    assert {trial.epochs for trial in record.trials} == {2}
    best = max(record.trials, key=lambda trial: trial.score)
    assert record.winner["number"] == best.number
    assert record.winner["result"]["best_valid_score"] == record.winner["score"] == best.score
    (run,), waiting = find_runs(["runs"])
    assert not waiting
    assert str(run.path) == record.winner["folder"]
    assert {key: run.config[key] for key in best.parameters} == best.parameters
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0].split()[:3] == ["trial", "valid", "ndcg@20"]
    assert captured.out.splitlines()[1].split()[:2] == [str(best.number), f"{best.score:.4f}"]
    assert "learning_rate: one of 0.001, 0.05" in captured.err
    check_text_form(Path("found.txt").read_text(), best.parameters)


def check_text_form(text: str, best: dict[str, Any]) -> None:
    """RecBole's ``export_result``: parameters, then results; the winner alone was tested."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert len(blocks) == 4
    assert blocks[0][0] == ", ".join(f"{key}:{value}" for key, value in best.items())
    assert [block[1] for block in blocks] == ["Valid result:"] * 4
    assert [len(block) for block in blocks] == [5, 3, 3, 3]
    assert blocks[0][3] == "Test result:"
    assert blocks[0][2].startswith("recall@10 : ")


def test_no_trial_reads_a_test_set(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is evaluated is the validation set, until the winner's own run."""
    sets: list[tuple[str, int]] = []
    evaluate = RunMixin.evaluate

    def watched(trainer: RunMixin, loader: Any, *args: Any, **kwargs: Any) -> Any:
        kind = "trial" if isinstance(trainer.run, TrialFolder) else "run"
        first = loader._dataset.inter_feat["session_id"][0]
        sets.append((kind, str(loader._dataset.id2token("session_id", first)).rpartition("-")[2]))
        return evaluate(trainer, loader, *args, **kwargs)

    monkeypatch.setattr(RunMixin, "evaluate", watched)
    monkeypatch.setattr(experiment, "further_test_loaders", loaders := Counted(experiment.further_test_loaders))
    monkeypatch.setattr(experiment, "_test", tests := Counted(experiment._test))
    assert cli.main(search("--max_evals=3")) == 0
    assert {name for kind, name in sets if kind == "trial"} == {"valid"}
    assert {name for kind, name in sets if kind == "run"} == {"valid", "test", "test_ood"}
    assert (loaders.count, tests.count) == (1, 1)
    record = the_search()
    for trial in record.trials:
        folder = record.folder(trial)
        assert "test" not in {event["event"] for event in RunFolder(folder).records()}
        assert "test" not in json.loads((folder / "validation.json").read_text())
        assert not any((folder / name).exists() for name in ("config.yaml", "result.json", "done", "per_user.npz"))
        assert not list(folder.glob("*.pth"))


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.count, self._function = 0, function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return self._function(*args, **kwargs)


def test_a_trial_is_no_run(search: Search, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(search("--max_evals=2")) == 0
    record = the_search()
    folder = record.folder(record.trials[0])
    assert cli.main([f"--resume={folder}"]) == 2
    assert "no run to continue" in capsys.readouterr().err
    assert cli.main(["recommend", str(folder)]) == 2
    assert "no model is stored here" in capsys.readouterr().err
    assert not RunFolder(folder).started
    assert not RunFolder(folder).finished


@pytest.mark.parametrize("algo", ["random", "tpe"])
def test_the_same_seed_proposes_the_same(search: Search, algo: str) -> None:
    if algo == "tpe":
        pytest.importorskip("hyperopt")
    space = "learning_rate loguniform -8,-2\nembedding_size choice [4, 5]"
    words = search(f"--algo={algo}", "--max_evals=4", space=space, epochs=1)
    for output_dir, more in (("one", []), ("two", []), ("other", ["--seeds=3"])):
        assert cli.main([*words, f"--output_dir={output_dir}", *more]) == 0
    assert without_times(the_search("one")) == without_times(the_search("two"))
    assert [one.parameters for one in the_search("one").trials] != [
        one.parameters for one in the_search("other").trials
    ]


def test_more_trials_continue_the_search(search: Search, capsys: pytest.CaptureFixture) -> None:
    space = "learning_rate loguniform -8,-2"
    assert cli.main(search("--max_evals=2", space=space, epochs=1)) == 0
    before = the_search()
    capsys.readouterr()
    assert cli.main(search("--max_evals=3", space=space, epochs=1)) == 0
    after = the_search()
    assert without_times(after)[:2] == without_times(before)
    assert len(after.trials) == 3
    assert [line[:8] for line in capsys.readouterr().err.splitlines() if line.startswith("trial ")] == ["trial 2:"]


def test_fewer_trials_count_the_first(search: Search, capsys: pytest.CaptureFixture) -> None:
    space = "learning_rate choice [0.00001, 0.05]"
    words = search("--algo=exhaustive", "--output_file=found.txt", space=space, epochs=4)
    assert cli.main(words) == 0
    assert the_search().winner["number"] == 1
    capsys.readouterr()
    assert cli.main([*words, "--max_evals=1"]) == 0
    captured = capsys.readouterr()
    assert "2 trials are there; the first 1 count" in captured.err
    assert [line.split()[0] for line in captured.out.splitlines()[:3]] == ["trial", "0", "dataset"]
    record = the_search()
    assert (len(record.trials), record.winner["number"]) == (2, 0)
    assert Path("found.txt").read_text().count("Valid result:") == 1
    assert "<p>1 trials, 1 with a score" in (record.path / "search.html").read_text()
    assert cli.main(words) == 0
    assert the_search().winner["number"] == 1


def test_fewer_trials_continue_none_of_the_others(search: Search) -> None:
    space = "learning_rate choice [0.01, 0.02, 0.03]"
    assert cli.main(search("--algo=exhaustive", space=space)) == 0
    for trial in the_search().trials[1:]:
        Path(the_search().folder(trial), "validation.json").unlink()
    record = the_search()
    for trial in record.trials[1:]:
        trial.state = "interrupted"
    record.write_trials()
    assert cli.main(search("--algo=exhaustive", "--max_evals=2", space=space)) == 0
    assert [trial.state for trial in the_search().trials] == ["done", "done", "interrupted"]


@pytest.mark.parametrize(
    ("name", "content"), [("records.jsonl", "garbage\n"), ("records.jsonl", "{}\n"), ("validation.json", "3")]
)
def test_a_damaged_trial_is_named(search: Search, capsys: pytest.CaptureFixture, name: str, content: str) -> None:
    words = search(space="learning_rate choice [0.01]", epochs=1)
    assert cli.main(words) == 0
    record = the_search()
    file = record.folder(record.trials[0]) / name
    file.write_text(content)
    for again in (words, [f"--resume={record.path}"]):
        capsys.readouterr()
        assert cli.main(again) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and f"{file}: " in errors[0]


def test_a_bad_trial_fails_alone(search: Search, capsys: pytest.CaptureFixture) -> None:
    space = "embedding_size choice [4, -1]\nlearning_rate choice [0.01, 0]"
    assert cli.main(search("--algo=exhaustive", space=space)) == 0
    record = the_search()
    assert [trial.state for trial in record.trials] == ["done", "failed", "failed", "failed"]
    assert "learning_rate: expected a number above 0, found 0" in record.trials[1].error
    assert "negative dimension" in record.trials[2].error
    assert record.winner["number"] == 0
    assert "3 of 4 trials failed:\n  trial 1: learning_rate" in capsys.readouterr().err


def test_without_a_winner_it_fails(search: Search) -> None:
    assert cli.main(search(space="learning_rate choice [0, -1]")) == 1
    assert the_search().winner is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_and_it_is_continued(
    search: Search, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, number: int
) -> None:
    words = search("--algo=exhaustive", epochs=4)

    def before_epoch(trainer: RunMixin, epoch_idx: int, train_data: object) -> None:
        if epoch_idx == 2 and trainer.run.path.name == "1":
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(RunMixin, "before_epoch", before_epoch)
        patch.setattr(RunMixin, "_worth_saving", lambda trainer: True)
        assert cli.main(words) == 128 + number
    record = the_search()
    assert [trial.state for trial in record.trials] == ["done", "interrupted"]
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"interrupted (1 of 4 trials done); continue with --resume={record.path}"
    assert cli.main([f"--resume={record.path}", "--parallel=1"]) == 0
    assert cli.main([*words, "--output_dir=straight"]) == 0
    assert without_times(the_search()) == without_times(the_search("straight"))
    continued = RunFolder(record.folder(record.trials[1]))
    assert [one["epoch"] for one in continued.records("train")] == [0, 1, 2, 3]
    assert len(continued.records("start")) == 1


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--algo=grid"], "--algo: there is no 'grid'; expected one of exhaustive, random, tpe"),
        (["--tool=Optuna"], "--tool must be one of Hyperopt, Ray, but got 'Optuna'"),
        (["--max_evals=0"], "expected a number of at least 1, but got 0"),
        (["--max_evals=2", "--num_samples=2"], "mean the same"),
        (["--max_concurrent=2"], "--max_concurrent: for --tool=Ray only"),
        (["--tool=Ray"], "--parallel: Ray itself says how many trials run at once"),
        (["--parallel=ray"], "for Ray say --tool=Ray"),
        (["--learning_rate=0.1"], "--learning_rate is given, and space.hyper searches learning_rate"),
        (["--eval_step=0"], "eval_step is 0"),
        (["--seeds=1,2"], "a search is for one model, one data set and one seed"),
        (["--params_file=none.hyper"], "--params_file=none.hyper: cannot be read"),
        (["--topk=[5"], "topk: cannot read"),
        (["--output_file=data"], "--output_file=data: is a folder, expected a file; choose another"),
        (["--output_file=space.hyper/found.txt"], "space.hyper is a file, no folder; choose another"),
        (["--output_file=/proc/here/found.txt"], "--output_file=/proc/here/found.txt: /proc cannot be written to"),
        ([f"--output_file={'long' * 99}"], "cannot be used (File name too long)"),
    ],
)
def test_a_mistake_ends_it_before_anything_runs(
    search: Search, capsys: pytest.CaptureFixture, more: list[str], complaint: str
) -> None:
    assert cli.main([*search(), *more]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert complaint in last
    assert not Path("runs").exists()


def test_flags_of_a_search_need_one(flags: Flags, search: Search, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["-m", "BPR", "-d", "board", *flags(), "--tool=Ray", "--max_evals=3"]) == 2
    assert "--tool --max_evals: for a search, which needs --params_file=FILE" in capsys.readouterr().err
    assert cli.main(search("--max_evals=1")) == 0
    path = the_search().path
    for words, complaint in (
        (["--algo=tpe"], "already says what to search; leave out --algo"),
        (["--epochs=9"], "the trials would be others by epochs"),
        (["--model=MF"], "leave out --model"),
    ):
        assert cli.main([f"--resume={path}", *words]) == 2
        assert complaint in capsys.readouterr().err
    assert cli.main([f"--resume={path}", "--max_evals=2", "--parallel=1"]) == 0
    assert len(the_search().trials) == 2


def test_a_continued_search_writes_its_text_where_it_was_told_to(search: Search) -> None:
    assert cli.main(search("--max_evals=1", "--output_file=found.txt")) == 0
    path = the_search().path
    Path("found.txt").unlink()
    assert cli.main([f"--resume={path}", "--max_evals=2", "--parallel=1"]) == 0
    assert Path("found.txt").read_text().count("Valid result") == 2
    assert cli.main([f"--resume={path}", "--parallel=1", "--output_file=other.txt"]) == 0
    assert Path("other.txt").is_file()
    assert the_search().places == {"output_file": "other.txt"}


def test_a_search_whose_places_were_not_recorded_is_continued(search: Search, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(search("--max_evals=1", "--output_file=found.txt")) == 0
    file = the_search().path / "search.json"
    content = json.loads(file.read_text())
    del content["places"]
    file.write_text(json.dumps(content))
    assert cli.main([f"--resume={file.parent}", "--parallel=1"]) == 0
    assert (file.parent / "hyper_example.result").is_file()
    mended(file, places={"output_file": 3})
    assert cli.main([f"--resume={file.parent}", "--parallel=1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {file}, places: expected output_file: str or None, found 3")


def mended(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("content", ["{}", "3", '{"best_valid_score": "high"}', "["])
def test_a_damaged_file_of_a_search_is_told(search: Search, capsys: pytest.CaptureFixture, content: str) -> None:
    words = search("--max_evals=1", space="learning_rate choice [0.01, 0.02]")
    assert cli.main(words) == 0
    record = the_search()
    trial = record.folder(record.trials[0])
    for file in (trial / "validation.json", Path(record.winner["folder"], "result.json")):
        kept = file.read_text()
        file.write_text(content)
        for again in ([f"--resume={record.path}", "--parallel=1"], words):
            capsys.readouterr()
            assert cli.main(again) == 2
            assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {file}: ")
        file.write_text(kept)
    assert cli.main(words) == 0


def test_a_trial_whose_folder_is_deleted_is_made_again(search: Search) -> None:
    words = search("--max_evals=1", space="learning_rate choice [0.01, 0.02]")
    assert cli.main(words) == 0
    record = the_search()
    shutil.rmtree(record.folder(record.trials[0]))
    assert cli.main(words) == 0
    assert without_times(the_search()) == without_times(record)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"keys": None}, "search.json: expected keys: a mapping to str, found None"),
        ({"space": None}, "search.json: expected space: str, found None"),
        ({"config_files": 3}, "search.json: expected config_files: a list of str, found 3"),
        ({"tool": None}, "search.json: expected tool: str, found None"),
    ],
)
def test_a_damaged_command_is_told(
    search: Search, capsys: pytest.CaptureFixture, change: dict[str, Any], complaint: str
) -> None:
    assert cli.main(search("--max_evals=1")) == 0
    record = the_search()
    for command in ({**record.command, **change}, 3):
        mended(record.path / "search.json", command=command)
        capsys.readouterr()
        assert cli.main([f"--resume={record.path}"]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(f"error: {record.path}/{complaint if command != 3 else 'search.json: expected keys'}")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"parameters": {"learning_rate": 0.01}},
            "expected the parameters embedding_size, learning_rate, found learni",
        ),
        ({"parameters": None}, "expected parameters: a mapping to object, found None"),
        ({"state": 3}, "expected state: str, found 3"),
        ({"score": "high"}, "expected score: int or float or None, found 'high'"),
        ({"folder": None}, "expected folder: str, found None"),
        ({"number": 7}, "expected trial 0, found 7"),
    ],
)
def test_a_damaged_trial_is_told(
    search: Search, capsys: pytest.CaptureFixture, change: dict[str, Any], complaint: str
) -> None:
    assert cli.main(search("--max_evals=1")) == 0
    path = the_search().path
    mended(path / "trials.jsonl", **change)
    capsys.readouterr()
    assert cli.main([f"--resume={path}", "--parallel=1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {path}/trials.jsonl, line 1: {complaint}")


def test_painvrl_s_trials_are_validated_by_their_final_model(flags: Flags) -> None:
    Path("space.hyper").write_text("invariant_loss_weight choice [0.3, 0.6]\nwarmup_epochs choice [2, 9]\n")
    small = dict(epochs=5, n_rounds=1, n_environments=2, mask_steps=3, feature_size=4, train_batch_size=512)
    words = ["-d", "board", *flags(**small), "--params_file=space.hyper", "--parallel=1", "--algo=exhaustive"]
    assert cli.main(words) == 0
    record = the_search()
    assert [trial.state for trial in record.trials] == ["done", "failed"] * 2
    assert "epochs must be more than" in record.trials[1].error
    assert record.winner["result"]["best_valid_score"] == record.winner["score"]
