"""``recbole-painvrl report`` as a user runs it: from records alone, the same bytes every time, mistakes in one line."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.pictures import OF_ROUNDS
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.runs import find_runs
from recbole_painvrl.report.selection import ORACLE_LABEL
from tests.report.made_runs import make_run, of

pytest.importorskip("matplotlib")
PROGRAM = "import sys; from recbole_painvrl.cli import main; sys.exit(main(sys.argv[1:]))"
FORBIDDEN = """
import sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}.split():
            raise ImportError(name)
sys.meta_path.insert(0, Forbidden())
"""


def report(*arguments: object, without: str = "recbole torch pandas") -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own in which the modules ``without`` cannot be imported."""
    code = FORBIDDEN.format(names=without) + PROGRAM
    command = [sys.executable, "-c", code, "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def written(made_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("report") / "out"
    done = report(made_runs, "--output", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| PaInvRL | 3 | 0.5 | 0.3000 ± 0.0000 | 0.3700 ± 0.0100 ‡ | **0.2700 ± 0.0100** | 0.1000" in done.stdout
    return output


def test_every_picture_has_numbers_and_is_linked(written: Path) -> None:
    of_model = (*OF_ROUNDS, "training", "risk_path")
    names = {f"made_PaInvRL_{name}" for name in of_model} | {"made_ERM_training"}
    names |= {f"made_{name}" for name in ("trade_off", "shift", "groups_test", "differences")}
    tables = {"summary", "leaderboard", "significance", "prices"}
    assert {file.stem for file in written.glob("*.svg")} == names
    assert {file.stem for file in written.glob("*.csv")} == names | tables
    page = (written / "report.md").read_text()
    linked = set(re.findall(r"\]\(([^)/]+)\)", page))
    of_pictures = {f"{name}.{kind}" for name in names for kind in ("svg", "csv")}
    assert linked == of_pictures | {f"{name}.csv" for name in tables} | {"index.html"}
    assert "ERM on made: has no rounds" in page


def test_the_summary_holds_means_and_deviations(written: Path) -> None:
    with open(written / "summary.csv", newline="") as text:
        rows = {row["model"]: row for row in csv.DictReader(text)}
    ours = rows["PaInvRL"]
    assert (ours["seeds"], ours["rho"], ours["rule"], ours["metric"]) == ("1 2 3", "0.5", "iid_validation", "ndcg@10")
    expected = {"test_mean": 0.37, "test_std": 0.01, "test_ood_mean": 0.27, "gap_test_ood_mean": 0.1, "valid_mean": 0.3}
    assert {name: float(ours[name]) for name in expected} == pytest.approx(expected)
    assert ours["worst_activity_mean"] == ""  # groups are recorded at the run's own rho, 1, and 0.5 is the chosen one
    assert float(rows["ERM"]["worst_activity_mean"]) == pytest.approx(0.1)
    assert float(rows["ERM"]["worst_gender_mean"]) == pytest.approx(0.35)


def test_the_same_records_give_the_same_bytes(made_runs: Path, written: Path, tmp_path: Path) -> None:
    again = written.parent / "again"
    assert report(made_runs, "--output", again).returncode == 0
    files = {file.name: file.read_bytes() for file in written.iterdir()}
    assert files == {file.name: file.read_bytes() for file in again.iterdir()}


def test_the_oracle_is_labelled_everywhere(made_runs: Path, tmp_path: Path) -> None:
    done = report(made_runs, "--rule=oracle", "--output", tmp_path / "out", "--metric=recall@10")
    assert done.returncode == 0
    assert f"| {ORACLE_LABEL} |" in done.stdout
    page = (tmp_path / "out" / "report.md").read_text()
    assert all(ORACLE_LABEL in line for line in page.splitlines() if line.startswith(("### made", "![", "| PaInvRL |")))
    assert "not allowed for claims" in page.split("##")[0]
    for file in (tmp_path / "out").glob("*.csv"):
        with open(file, newline="") as text:
            assert {row["rule"] for row in csv.DictReader(text)} == {ORACLE_LABEL}, file.name


def test_unfinished_runs_are_left_out_and_named(tmp_path: Path) -> None:
    make_run(tmp_path, seed=1, rounds=0)
    waiting = make_run(tmp_path, seed=2, rounds=0, finished=False)
    done = report(tmp_path, "--output", tmp_path / "out")
    assert done.returncode == 0
    assert f"{waiting}: left out" in done.stdout


def test_competing_configurations_are_told_apart(tmp_path: Path) -> None:
    for seed, lr in ((1, 0.1), (2, 0.1), (1, 0.01)):
        make_run(tmp_path, "ERM", seed, rounds=0, config={"learning_rate": lr})
    done = report(tmp_path, "--output", tmp_path / "out")
    assert "ERM on made: its configurations were run with different seeds" in done.stdout
    with open(tmp_path / "out" / "summary.csv", newline="") as text:
        chosen = {row["configuration"]: row["chosen"] for row in csv.DictReader(text)}
    assert sorted(chosen.values()) == ["0", "1"]
    assert set(chosen) == {"learning_rate=0.1", "learning_rate=0.01"}


def test_environments_without_a_signal_are_reported(tmp_path: Path) -> None:
    for seed, signal in ((1, False), (2, True)):
        run = RunFolder(make_run(tmp_path, seed=seed))
        run.record("identification", round=2, sizes=[9, 1], moved=0.0, history=[], signal=signal, collapsed=not signal)
    done = report(tmp_path, "--output", tmp_path / "out")
    assert "PaInvRL on made, seed 1: the environments carry no more signal than chance" in done.stdout
    assert "PaInvRL on made, seed 1: the identification collapsed" in done.stdout


def test_where_a_rule_would_have_stopped_elsewhere_it_is_said(tmp_path: Path) -> None:
    path = make_run(tmp_path, "ERM", rounds=0)
    for epoch, (iid, worst) in enumerate([(0.8, 0.3), (0.9, 0.2)], start=6):
        RunFolder(path).record("valid", epoch=epoch, score=iid, result=of(iid), environments={"a": of(worst)})
    done = report(path, "--rule=worst_environment", "--output", tmp_path / "out")
    assert done.returncode == 0
    assert "worst_environment would have stopped elsewhere (seed 1 epoch 6" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "RUN_FOLDER"),
        (["{runs}", "--rule=orcale"], "Did you mean 'oracle'?"),
        (["{runs}", "--rule=ood_validation"], "valid_ood"),
        (["{runs}", "--rule=worst_environment"], "environments"),
        (["{runs}", "--metric=ndgc@10"], "Did you mean 'ndcg@10'?"),
        (["{runs}", "--ours=PaInvrL"], "expected a model of the runs, ERM, PaInvRL. Did you mean 'PaInvRL'?"),
        (["{runs}", "--ours="], "expected a model of the runs, ERM, PaInvRL."),
        (["{runs}", "--front=nowhere.csv"], "nowhere.csv"),
        (["{runs}/nowhere"], "no such folder"),
        (["{runs}/data"], "holds a run"),
        (["{runs}", "--output={runs}/data/made/truth.csv"], "cannot be created"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    made_runs: Path, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    output = [] if any(word.startswith("--output") for word in arguments) else ["--output", tmp_path / "out"]
    done = report(*[word.format(runs=made_runs) for word in arguments], *output)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_one_line_says_how_to_install(made_runs: Path, tmp_path: Path) -> None:
    done = report(made_runs, "--output", tmp_path / "out", without="matplotlib")
    assert done.returncode == 2
    assert 'pip install "recbole_painvrl[report]"' in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{place}: &a{place} [{', '.join([f'*a{place - 1}'] * 10)}]\n" for place in range(1, 9)
)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("result.json", b"{", "cannot be read"),
        ("result.json", b"3", "expected keys and values, found 3"),
        ("result.json", b"{}", "expected model: str, found nothing"),
        ("result.json", b"\xff", "cannot be read"),
        ("config.yaml", b"", "found nothing"),
        ("config.yaml", b"[1, 2]", "found list"),
        ("config.yaml", b"a: [1", "cannot be read"),
        ("config.yaml", b"a: !!int x", "cannot be read"),
        ("config.yaml", b"a: \xff\xfe", "cannot be read"),
        ("config.yaml", b"[" * 100_000, "cannot be read"),
        ("config.yaml", BOMB.encode(), "more than"),
        ("records.jsonl", b"garbage\n", "line 1: expected the record of an event"),
        ("records.jsonl", b"{}\n", "line 1: expected the record of an event"),
    ],
)
def test_a_damaged_run_is_named(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = make_run(tmp_path, rounds=0)
    (path / name).write_bytes(content)
    done = report(tmp_path, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert f"{path / name}: " in done.stderr and complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("result", "complaint"),
    [({"seed": "x"}, "seed"), ({"test_results": 3}, "test_results"), ({"test_results": {"test": [1]}}, "each metric")],
)
def test_a_result_of_another_shape_is_named(tmp_path: Path, result: dict[str, object], complaint: str) -> None:
    path = make_run(tmp_path, rounds=0, result=result)
    with pytest.raises(UserError, match=complaint) as error:
        find_runs([tmp_path])
    assert str(path / "result.json") in str(error.value)
