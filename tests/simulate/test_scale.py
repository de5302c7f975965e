"""Large data sets: the sizes asked for, choices that differ, planted tastes, the same bytes from the same seed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_painvrl.cli import main
from recbole_painvrl.errors import UserError
from recbole_painvrl.simulate import SCALES, large, simulate_scale
from recbole_painvrl.simulate.large import Large, degrees
from recbole_painvrl.simulate.scales import LEAST, scale_with

SMALL = {"users": 120, "items": 90, "interactions": 1500}


def written(tmp_path: Path, scale: str = "tiktok", name: str = "small", seed: int = 1, **more: object) -> Path:
    simulate_scale(scale, name, seed, tmp_path, **{**SMALL, **more})
    return tmp_path / name


def table(folder: Path, split: str) -> pd.DataFrame:
    frame = pd.read_csv(folder / f"{folder.name}.{split}.inter", sep="\t")
    return frame.rename(columns=lambda column: column.partition(":")[0])


def test_the_scales_have_the_shapes_of_the_papers() -> None:
    shapes = {name: (one.users, one.items, one.interactions, one.widths.get("visual")) for name, one in SCALES.items()}
    assert shapes["movielens"] == (55_485, 5_986, 1_239_508, 2048)
    assert shapes["tiktok"] == (36_656, 76_085, 726_065, 128) and SCALES["tiktok"].words
    assert shapes["kwai"] == (7_010, 86_483, 298_492, 2048)
    assert shapes["10m"][:3] == (500_000, 200_000, 10_000_000)


def test_same_seed_same_bytes_and_the_counts_asked_for(tmp_path: Path) -> None:
    one, two = written(tmp_path, name="one"), written(tmp_path / "again", name="one")
    files = sorted(path.name for path in one.iterdir())
    assert files == sorted(path.name for path in two.iterdir())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)
    known = pd.concat([table(one, split) for split in ("train", "valid", "test")])
    assert len(known) == 1500 and known["user_id"].nunique() == 120
    everything = pd.concat([known, table(one, "test_ood")])
    assert not everything.duplicated(["user_id", "item_id"]).any()
    assert set(table(one, "test_ood")["environment"]) == {3} and set(known["environment"]) == {0, 1, 2}
    assert (everything.groupby("session_id")[["user_id", "environment"]].nunique() == 1).all().all()
    assert np.load(one / "one.visual.npy").shape == (90, 128)


def test_degrees_add_up_and_have_a_tail() -> None:
    scale = scale_with("kwai", {})
    found = degrees(np.random.default_rng(0), scale)
    assert found.sum() == scale.interactions and found.min() >= LEAST and found.max() <= scale.most
    assert np.sort(found)[-len(found) // 100 :].sum() > 0.05 * found.sum()


class Zeros(np.random.Generator):
    """A generator whose exponential numbers are 0, as one in millions is in single precision."""

    def standard_exponential(self, size: object = None, **_: object) -> np.ndarray:  # type: ignore[override]
        return np.zeros(size, dtype=np.float32)  # type: ignore[call-overload, no-any-return]


@pytest.mark.filterwarnings("error")
def test_a_draw_of_zero_is_no_infinite_utility(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Large(scale_with("kwai", SMALL), seed=1)
    monkeypatch.setattr(data, "stream", lambda purpose: Zeros(np.random.PCG64(1)))
    assert sum(len(block.items) for block in data.choices()) == data.n_choices


def test_features_and_choices_show_the_planted_tastes() -> None:
    """A column shows its own kind's factors alone, and what is chosen in test_ood has the opposite spurious taste."""
    data = Large(scale_with("10m", {"users": 400, "items": 300, "interactions": 12_000}), seed=3)
    features, kinds = np.concatenate(list(data.features("visual"))), data.truth["visual"]
    shares = {}
    for kind, factors in data.factors.items():
        fitted = factors @ np.linalg.lstsq(factors, features, rcond=None)[0]
        shares[kind] = fitted.var(axis=0) / features.var(axis=0)
    assert all(shares[kind][kinds == kind].mean() > 0.4 for kind in shares)
    assert all(shares[kind][kinds != kind].mean() < 0.05 for kind in shares)
    blocks = list(data.choices())
    users, items, sets = (np.concatenate([getattr(b, name) for b in blocks]) for name in ("users", "items", "sets"))
    liked = [data.factors[0][items[(users == user) & (sets == 0)]].mean(axis=0) for user in range(400)]
    liked_ood = [data.factors[0][items[(users == user) & (sets == 3)]].mean(axis=0) for user in range(400)]
    assert (np.array(liked) * np.array(liked_ood)).sum() < 0


def test_memory_does_not_grow_with_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "CHOICES_A_BLOCK", 2048)
    peaks = []
    for users in (300, 1_200):
        data = Large(scale_with("10m", {"users": users, "items": 2_000}), seed=0)
        tracemalloc.start()
        assert sum(len(block.users) for block in data.choices()) == data.n_choices
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_half_precision_loads_as_the_same_features_rounded(tmp_path: Path) -> None:
    whole, half = written(tmp_path, "kwai", "whole"), written(tmp_path, "kwai", "half", half=True)
    stored = np.load(half / "half.visual.npy")
    assert stored.dtype == np.float16
    assert np.allclose(stored, np.load(whole / "whole.visual.npy"), atol=5e-3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--scale=kwaii"], "--scale=kwaii: expected one of"),
        (["--scale=kwai", "--items=10"], "--items=10: expected at least 20"),
        (["--scale=kwai", "--users=10", "--interactions=9"], "--interactions=9: 10 users make"),
        (["--scale=kwai", "--users=ten"], "--users=ten: expected a whole number"),
        (["--scale=kwai", "--noise_columns=3"], "--noise_columns: --scale takes"),
        (["r1", "--scale=kwai"], "expected a recipe"),
        ([], "expected a recipe"),
        (["r1"], "a recipe needs --name"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    assert main(["simulate", *words, f"--data_path={tmp_path}"]) == 2
    assert told in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_an_existing_data_set_stays(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(UserError, match="exists already"):
        written(tmp_path)
