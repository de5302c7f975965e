"""The benchmark of paper-size data measures the sizes that it was asked for, or nothing."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from benchmarks import paper_size
from benchmarks.paper_size import check_made, row
from recbole_painvrl.simulate.command import simulate_scale
from recbole_painvrl.simulate.scales import scale_with

SMALL = {"users": 60, "items": 200}


def test_data_of_another_divide_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "scale-tiktok"
    simulate_scale("tiktok", "scale-tiktok", data_path=tmp_path, **SMALL)
    check_made(folder, scale_with("tiktok", SMALL))
    monkeypatch.setattr(paper_size, "measured", lambda *words: pytest.fail("measured"))
    with pytest.raises(SystemExit, match=r"holds other data \(users 60, not 183; items 200, not 380;.*--folder"):
        row("tiktok", Namespace(folder=tmp_path, divide=200, set=[]), 0)
    assert (folder / "recipe.json").is_file()


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"constants": 3}'])
def test_data_of_unknown_size_are_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(SystemExit, match=r"holds other data \(no readable recipe\.json"):
        check_made(tmp_path, scale_with("tiktok", SMALL))
