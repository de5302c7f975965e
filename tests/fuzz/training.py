"""Whole runs on data hardly worth training on: finite results, or a refusal before the first epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from recbole_painvrl.quick_start import run_recbole_painvrl
from recbole_painvrl.report.records import RunFolder
from tests.fuzz.target import Target
from tests.inputs import write_features, write_interactions

KEYS = {
    "epochs": 2,
    "warmup_epochs": 1,
    "n_rounds": 1,
    "n_environments": 2,
    "env_max_iter": 1,
    "mask_steps": 2,
    "topk": [1],
    "embedding_size": 4,
    "feature_size": 2,
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
    "metrics": ["NDCG"],
    "load_col": {"inter": ["user_id", "item_id", "environment"]},
}


@dataclass(frozen=True)
class Shop:
    """A few users and items, what is known of each, and the keys that decide what environments are."""

    n_users: int
    n_items: int
    split: str
    features: str
    keys: dict[str, object]


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    """Returns a shop of one user or one item, where somebody has everything, or where all is one environment."""
    keys = {
        "env_level": draw(st.sampled_from(("interaction", "user"))),
        "env_method": draw(st.sampled_from(("spectral", "clustering"))),
        "env_field": draw(st.sampled_from((None, None, "environment"))),
        "rec_loss": draw(st.sampled_from(("softmax", "ultragcn", "bpr"))),
        "n_negatives": 1,
        "mask_axes": draw(st.sampled_from(("features", "features", "learned"))),
    }
    split = draw(st.sampled_from(("thirds", "everything", "cold")))
    features = draw(st.sampled_from(("random", "constant", "zero", "few", "none")))
    return Shop(draw(st.sampled_from((6, 3, 1))), draw(st.sampled_from((9, 6, 4, 1))), split, features, keys)


def check(shop: Shop, folder: Path) -> None:
    """Trains on a shop and reads what the run recorded."""
    write_shop(shop, folder)
    more = {"modalities": {}} if shop.features == "none" else {}
    keys = {**KEYS, **shop.keys, **more, "data_path": str(folder), "output_dir": str(folder / "runs")}
    keys["benchmark_filename"] = ["train", "valid", "test"]
    run_recbole_painvrl("PaInvRL", "shop", config_dict=keys)
    (run,) = (folder / "runs" / "shop" / "PaInvRL").iterdir()
    result = RunFolder(run).read_json("result.json")
    assert all(math.isfinite(value) and 0 <= value <= 1 for value in result["test_result"].values())
    mask = pd.read_csv(run / "mask.csv")["mask"]
    assert mask.between(0, 1).all()


def write_shop(shop: Shop, folder: Path) -> None:
    """Writes the data folder ``shop``."""
    pairs = [(user, item) for user in range(shop.n_users) for item in range(shop.n_items) if (user + item) % 4]
    parts = {name: pairs[start::3] for start, name in enumerate(("train", "valid", "test"))}
    if shop.split == "everything":  # the first user has all items in training, nothing is left to rank for that one
        parts["train"] = sorted({*parts["train"], *((0, item) for item in range(shop.n_items))})
    if shop.split == "cold":
        parts = {"train": pairs[: len(pairs) // 2], "valid": pairs[-1:], "test": pairs[-1:]}
    for name, chosen in parts.items():
        rows = [(f"u{user}", f"i{item}", "ab"[item % 2]) for user, item in chosen]
        write_interactions(folder, "shop", pd.DataFrame(rows, columns=["user_id", "item_id", "environment"]), name)
    values = np.random.default_rng(0).normal(size=(shop.n_items, 3)).astype(np.float32)
    values = {"constant": np.ones_like(values), "zero": np.zeros_like(values)}.get(shop.features, values)
    listed = 1 if shop.features == "few" else shop.n_items
    if shop.features != "none":
        write_features(folder, "shop", "look", [f"i{item}" for item in range(listed)], values[:listed])


NAMES = (
    r"shop",
    "n_environments",
    "env_",
    "control",
    "modalities",
    "topk",
    "identification",
    "mask generation",
    "rec_loss",
    "epochs",
)
TARGETS = [Target("whole runs", shops(), check, 2, 60, NAMES)]
