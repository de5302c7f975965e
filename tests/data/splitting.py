"""What the tests of out-of-distribution splits share: a data set, and the sets that a configuration makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.utils import init_seed

from recbole_painvrl.config import Config
from recbole_painvrl.utils import create_dataset
from tests.inputs import write_features, write_interactions, write_items

READY = ["train", "valid", "test"]
OF_KIND: dict[str, dict[str, Any]] = {
    "feature_cluster": {"clusters": 3},
    "cold_clusters": {"clusters": 3},
    "group": {"field": "session_id", "values": ["u0-b", "u1-b"]},
    "environment": {"environments": 2},
}
Sets = dict[str, set[tuple[str, str]]]


def settings_of(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, **OF_KIND.get(kind, {}), **more}


def write_timed(tmp_path: Path) -> tuple[str, Path]:
    """Writes 50 users and 40 items without ready splits: two modalities, times, genders and genres."""
    draw = np.random.default_rng(4)
    rows = [(u, i) for u in range(50) for i in draw.choice(40, 12, replace=False)]
    users, items = (np.array(column) for column in zip(*rows, strict=True))
    frame = pd.DataFrame({"user_id": [f"u{u}" for u in users], "item_id": [f"i{i}" for i in items]})
    frame["rating"], frame["timestamp"] = draw.integers(1, 6, len(rows)), 881250949 + draw.integers(0, 10**6, len(rows))
    write_interactions(tmp_path, "timed", frame.iloc[draw.permutation(len(frame))])
    genres = [f"g{i % 4} g{i % 3 + 4}" for i in range(40)]
    tokens = [f"i{i}" for i in range(40)]
    write_items(tmp_path, "timed", pd.DataFrame({"item_id": tokens, "genres": genres}), {"genres": "token_seq"})
    gender = [f"u{u}\t{'FM'[u % 2]}\n" for u in range(50)]
    (tmp_path / "timed" / "timed.user").write_text("user_id:token\tgender:token\n" + "".join(gender))
    for seed, modality in enumerate(("visual", "audio")):
        values = np.random.default_rng(seed).normal(size=(40, 5)).astype(np.float32)
        write_features(tmp_path, "timed", modality, tokens, values)
    return "timed", tmp_path


def tokens_of(dataset: Any, part: Any) -> set[tuple[str, str]]:
    columns = (dataset.id2token(f, part.inter_feat[f].numpy()) for f in (dataset.uid_field, dataset.iid_field))
    return set(zip(*(column.tolist() for column in columns), strict=True))


def sets_of(name: str, config: dict[str, Any], model: str = "BPR") -> tuple[Sets, Any]:
    """Returns the pairs of each set as a run of ``model`` has them, and the data set."""
    resolved = Config(model, name, config_dict={"use_gpu": False, "show_progress": False, **config})
    init_seed(resolved["seed"], resolved["reproducibility"])
    dataset = create_dataset(resolved)
    parts = dict(zip(READY, dataset.build(), strict=True)) | dataset.further_tests
    return {part: tokens_of(dataset, built) for part, built in parts.items()}, dataset


def assert_disjoint(sets: Sets) -> None:
    names = list(sets)
    assert all(not sets[a] & sets[b] for place, a in enumerate(names) for b in names[:place])
