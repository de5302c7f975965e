"""What a search found, as RecBole's text form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recbole_painvrl.tuning.ray_trial import Reports
from recbole_painvrl.tuning.record import Record
from recbole_painvrl.tuning.results import write_text
from recbole_painvrl.tuning.trial import TrialFolder


def stopped(record: Record, scores: list[float], preparation: int = 0, **parameters: Any) -> None:
    """Adds a trial that was stopped after validations of these scores, the first ones not of its final training."""
    trial = record.add(parameters)
    folder = TrialFolder(record.folder(trial))
    folder.path.mkdir(parents=True)
    reports = Reports(folder.path, lambda score: None)
    for epoch, score in enumerate(scores):
        folder.record("valid", epoch=epoch, score=score, result={"recall@10": score / 2, "ndcg@10": score})
        if epoch >= preparation:
            reports.add(epoch, score)
    trial.state, trial.score, trial.epochs = "stopped", max(scores[preparation:]), len(scores)


def test_the_text_has_trials_that_were_stopped_with_what_they_had_reached(tmp_path: Path) -> None:
    record = Record(tmp_path, {}, "base")
    stopped(record, [0.9, 0.1, 0.4, 0.3], preparation=1, size=1)
    stopped(record, [0.2, 0.5], size=2)
    done = record.add({"size": 3})
    record.folder(done).mkdir()
    found = {"best_valid_score": 0.3, "best_valid_result": {"recall@10": 0.2, "ndcg@10": 0.3}}
    (record.folder(done) / "validation.json").write_text(json.dumps(found))
    done.state, done.score = "done", 0.3
    write_text(record, tmp_path / "found.txt", True)
    blocks = [block.splitlines() for block in (tmp_path / "found.txt").read_text().split("\n\n")]
    assert blocks == [
        ["size:3", "Valid result:", "recall@10 : 0.2    ndcg@10 : 0.3"],
        ["size:2", "Valid result until it was stopped after 2 epochs:", "recall@10 : 0.25    ndcg@10 : 0.5"],
        ["size:1", "Valid result until it was stopped after 4 epochs:", "recall@10 : 0.2    ndcg@10 : 0.4"],
    ]


def test_the_text_is_not_empty_where_all_were_stopped(tmp_path: Path) -> None:
    record = Record(tmp_path, {}, "base")
    stopped(record, [0.2, 0.5], size=2)
    record.winner = {"number": 0, "result": {"test_result": {"ndcg@10": 0.6}}}
    write_text(record, tmp_path / "found.txt", True)
    assert (tmp_path / "found.txt").read_text().splitlines()[2:] == [
        "recall@10 : 0.25    ndcg@10 : 0.5",
        "Test result:",
        "ndcg@10 : 0.6",
    ]
