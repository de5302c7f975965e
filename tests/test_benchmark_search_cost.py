"""The benchmark of searching replays trials as Ray's scheduler would have seen them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.search_cost import Course, Outcome, line, replayed, since_start
from recbole_painvrl.quick_start import configure
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.tuning.trial import TrialFolder, validate
from tests.inputs import write_checkerboard

ROOT = Path(__file__).resolve().parent.parent


class StopsBelow:
    """Stops what is below a bound at its second validation; keeps what it was shown."""

    STOP, CONTINUE = "STOP", "CONTINUE"

    def __init__(self, bound: float) -> None:
        self.bound, self.shown = bound, []

    def set_search_properties(self, metric: str, mode: str) -> None:
        self.metric, self.mode = metric, mode

    def on_trial_add(self, runner: None, trial: object) -> None:
        self.shown.append(("begins", trial.trial_id))

    def on_trial_result(self, runner: None, trial: object, result: dict[str, float]) -> str:
        self.shown.append((trial.trial_id, result["training_iteration"], result["score"]))
        return self.STOP if result["training_iteration"] == 2 and result["score"] < self.bound else self.CONTINUE


COURSES = [
    Course(0, (10.0, 20.0, 30.0, 31.0), (0.1, 0.2, 0.3), 0.3),
    Course(1, (4.0, 8.0, 12.0, 13.0), (0.5, 0.6, 0.6), 0.55),
    Course(2, (1.0, 2.0, 3.0), (0.1, 0.7), 0.7),
]


def test_seconds_count_from_the_start_and_go_on_in_another_process() -> None:
    assert since_start([100.5, 101.0, 104.5, 0.25, 2.25]) == [0.0, 0.5, 4.0, 4.25, 6.25]


def test_trials_are_shown_in_the_order_of_time() -> None:
    scheduler = StopsBelow(0.4)
    found = replayed(COURSES, scheduler, True, 2)
    assert (scheduler.metric, scheduler.mode) == ("score", "max")
    assert scheduler.shown == [
        ("begins", "0"),
        ("begins", "1"),
        ("1", 1, 0.5),  # at 4 seconds
        ("1", 2, 0.6),  # at 8
        ("0", 1, 0.1),  # at 10
        ("1", 3, 0.6),  # at 12; trial 1 ends at 13, and trial 2 takes its place
        ("begins", "2"),
        ("2", 1, 0.1),  # at 14
        ("2", 2, 0.7),  # at 15
        ("0", 2, 0.2),  # at 20
    ]
    assert found == [Outcome(0, 20.0, 0.2, True), Outcome(1, 13.0, 0.55, False), Outcome(2, 3.0, 0.7, False)]


def test_a_row_counts_what_was_spent_and_prefers_what_ended() -> None:
    outcomes = [Outcome(0, 20.0, 0.9, True), Outcome(1, 13.0, 0.6, False), Outcome(2, 3.0, 0.7, False)]
    assert line("x", outcomes, 72.0, True) == ["x", "2", "36", "0.50", "0.70000", "2"]
    assert line("x", outcomes, 72.0, False)[-1] == "1"


def test_a_course_is_read_from_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([1.0, 2.5, 3.0, 4.0, 9.0])
    monkeypatch.setattr("recbole_painvrl.report.records.time.process_time", lambda: next(seconds))
    folder = RunFolder(tmp_path)
    folder.record("start")
    for score in (0.3, 0.2, 0.4):
        folder.record("valid", score=score)
    folder.record("train", loss=1.0)
    folder.write_json("validation.json", {"best_valid_score": 0.35, "best_valid_result": {}})
    assert Course.read(7, tmp_path, True) == Course(7, (1.5, 2.0, 3.0, 8.0), (0.3, 0.3, 0.4), 0.35)


@pytest.mark.parametrize("refit", [False, True])
def test_a_course_is_what_a_trial_on_ray_reports(tmp_path: Path, refit: bool) -> None:
    """Not the warm-up's scores, and for what is chosen after training what the search would choose by."""
    board = write_checkerboard(tmp_path)
    small = {"epochs": 6, "warmup_epochs": 2, "n_rounds": 2, "refit_each_round": refit, "n_environments": 2}
    small |= {"mask_steps": 3, "embedding_size": 8, "feature_size": 4, "env_level": "interaction"}
    small |= {"variant_weight": "validation", "variant_weights": [0, 1], "variant_tolerance": 1.0, "use_gpu": False}
    config = configure("PaInvRL", "board", config_dict=board.config(output_dir=str(tmp_path / "runs"), **small))
    reports: list[float] = []
    validate(config, tmp_path / "trial", lambda epoch, score: reports.append(score))
    course = Course.read(0, tmp_path / "trial", True)
    assert list(course.scores) == reports
    assert len(reports) == (2 if refit else 4) == len(course.seconds) - 1
    assert course.result == TrialFolder(tmp_path / "trial").validation()["best_valid_score"] != reports[-1]


ASKED = """
import json, sys
try:
    from recbole_painvrl.tuning.on_ray import asha
    scheduler = asha([{"epochs": 40, "eval_step": 2}], 2)
except Exception as error:
    sys.exit(f"Ray cannot be used here: {error}")
from benchmarks.search_cost import Course, replayed
seconds = tuple(float(second) for second in range(1, 12))
scores = [(0.9 + number / 1000 if number % 2 == 0 else 0.1 + number / 1000,) * 10 for number in range(8)]
courses = [Course(number, seconds, one, one[-1]) for number, one in enumerate(scores)]
print(json.dumps([(one.number, one.seconds, one.stopped) for one in replayed(courses, scheduler, True, 2)]))
"""


def test_rays_scheduler_can_be_asked() -> None:
    """Half of eight trials are far worse from the start: some of them are stopped, none of the good ones.

    In a process of its own: Ray takes over how the one that imports it answers signals.
    """
    done = subprocess.run([sys.executable, "-c", ASKED], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.stderr.startswith("Ray cannot be used here"):
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    stopped = {number for number, _, early in found if early}
    assert stopped and stopped <= {1, 3, 5, 7}
    assert all(seconds == 11.0 for _, seconds, early in found if not early)
    assert all(seconds in (2.0, 6.0) for _, seconds, early in found if early)
