"""Runs that cannot be compared have leaderboards of their own, and only those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("matplotlib")

from recbole_painvrl.report.notes import data_notes, protocol_notes
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.runs import Run, configurations
from recbole_painvrl.report.selection import RULES, Selected, select
from tests.report.made_runs import make_run, make_users
from tests.report.test_leaderboard import make_report, rows_of

FULL = {"split": {"RS": [0.8, 0.1, 0.1]}, "mode": {"valid": "full", "test": "full"}}
SAMPLED = {**FULL, "mode": {"valid": "uni50", "test": "uni50"}}


def made(root: Path, model: str, seed: int = 1, digests: Mapping[str, str] | None = None, **config: Any) -> Run:
    """A run without rounds, with these digests of its data."""
    path = make_run(root, model, seed, rounds=0, config=config)
    if digests is not None:
        RunFolder(path).write_json("data.json", digests)
    return Run(path)


def chosen(*runs: Run) -> list[Selected]:
    return select(configurations(runs), RULES["iid_validation"])


def datasets(*runs: Run) -> list[str]:
    return [one.configuration.dataset for one in chosen(*runs)]


def test_sampled_candidates_do_not_compete_with_all(tmp_path: Path) -> None:
    for model, config, valid in (("ERM", FULL, 0.3), ("ERM", SAMPLED, 0.9), ("BPR", FULL, 0.2), ("MF", SAMPLED, 0.5)):
        for seed in (1, 2):
            make_users(make_run(tmp_path, model, seed, rounds=0, valid=valid, config={"eval_args": config}), [0.1, 0.3])
    make_report(tmp_path, "--output", tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "summary.csv")
    full, sampled = (f"made (eval_args.mode.test={mode}, eval_args.mode.valid={mode})" for mode in ("full", "uni50"))
    assert [(row["dataset"], row["model"]) for row in rows] == [
        (full, "BPR"),
        (full, "ERM"),
        (sampled, "ERM"),
        (sampled, "MF"),
    ]
    assert {row["chosen"] for row in rows} == {"1"}
    tests = {(row["dataset"], row["model"], row["reference"]) for row in rows_of(tmp_path / "out" / "significance.csv")}
    assert {(full, "BPR", "ERM"), (sampled, "MF", "ERM")} <= tests
    assert not {pair[1:] for pair in tests} & {("BPR", "MF"), ("MF", "BPR")}
    page = (tmp_path / "out" / "report.md").read_text()
    assert page.count(f"## {sampled}") == 1
    assert f"no test between them: {full}; {sampled}" in page


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ({}, {"ood_split": "cold_items"}, "ood_split.kind"),
        ({"ood_split": {"kind": "time"}}, {"ood_split": {"kind": "time", "share": 0.1}}, "ood_split.share"),
        ({"benchmark_filename": ["a", "b"]}, {"benchmark_filename": ["a", "c"]}, "benchmark_filename"),
        ({}, {"test_candidates": {"test_ood": "new"}}, "test_candidates.test_ood"),
        ({}, {"val_interval": {"rating": "[3,inf)"}}, "val_interval.rating"),
        ({"user_inter_num_interval": "[5,inf)"}, {}, "user_inter_num_interval"),
        ({"threshold": {"rating": 3}}, {"threshold": {"rating": 4}}, "threshold.rating"),
        ({}, {"rm_dup_inter": "first"}, "rm_dup_inter"),
    ],
)
def test_what_decides_on_the_interactions_parts(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], name: str
) -> None:
    names = datasets(made(tmp_path, "BPR", **one), made(tmp_path, "MF", **other))
    assert len(set(names)) == 2
    assert all(found.startswith(f"made ({name}=") for found in names)


def test_what_models_read_beside_them_does_not(tmp_path: Path) -> None:
    runs = [
        made(tmp_path, "BPR", load_col={"inter": ["user_id"]}, ood_split="cold_items", val_interval={}),
        made(tmp_path, "MF", load_col=None, ood_split={"kind": "cold_items"}, epochs=9),
        made(tmp_path, "VBPR", modalities={"visual": {}}, ood_split="cold_items", test_candidates=None),
    ]
    assert set(datasets(*runs)) == {"made"}
    assert protocol_notes(chosen(*runs)) == []


def test_other_interactions_part_and_other_features_are_noted(tmp_path: Path) -> None:
    old = made(tmp_path, "ERM")  # of a version that recorded no digests
    runs = [
        made(tmp_path, "BPR", digests={"made.inter": "a" * 64}),
        made(tmp_path, "VBPR", digests={"made.inter": "a" * 64, "made.v.npy": "c"}),
        made(tmp_path, "VBPR", 2, digests={"made.inter": "a" * 64, "made.v.npy": "d"}),
    ]
    assert set(datasets(*runs, old)) == {"made"}
    (note,) = data_notes(chosen(*runs))
    assert note.startswith(f"made: made.v.npy was not the same in all runs, as in {runs[1].path} and {runs[2].path}: ")
    other = made(tmp_path, "MF", digests={"made.inter": "b" * 64})
    assert datasets(*runs, other) == [*[f"made (made.inter={'a' * 8})"] * 2, f"made (made.inter={'b' * 8})"]


def test_features_that_choose_the_test_set_part(tmp_path: Path) -> None:
    for kind, parted in (("feature_cluster", True), ("cold_items", False)):
        runs = [
            made(tmp_path / kind, "VBPR", digests={"made.v.npy": "c"}, ood_split=kind),
            made(tmp_path / kind, "BM3", digests={"made.v.npy": "d"}, ood_split=kind),
        ]
        assert (len(set(datasets(*runs))) == 2) is parted


def test_a_long_protocol_makes_no_file_s_name_too_long(tmp_path: Path) -> None:
    for seed in (1, 2):
        run = RunFolder(make_run(tmp_path, "ERM", seed, rounds=0))
        split = {f"key_{number}": seed for number in range(40)}
        run.write_text("config.yaml", yaml.safe_dump({**run.settings(), "ood_split": split}))
    make_report(tmp_path, "--output", tmp_path / "out", "--metric", "ndcg@10")
    assert len(list((tmp_path / "out").glob("made*ndcg-10*.tex"))) == 2
