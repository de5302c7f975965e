"""Our evaluation loader gives RecBole's batches, without RecBole's sets."""

from __future__ import annotations

from pathlib import Path

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.utils import create_samplers

from recbole_painvrl.config import Config
from recbole_painvrl.data import atomic
from recbole_painvrl.data.full_sort import FullSortLoader, KnownPairs
from recbole_painvrl.simulate import simulate_scale
from recbole_painvrl.utils import create_dataset


def pairs(columns: tuple[torch.Tensor, torch.Tensor]) -> set[tuple[int, int]]:
    return set(zip(*(column.tolist() for column in columns), strict=True))


def test_batches_are_those_of_recbole(tmp_path: Path) -> None:
    simulate_scale("10m", "d", 0, tmp_path, users=60, items=50, interactions=600)
    given = {"data_path": str(tmp_path), "eval_batch_size": 500, "output_dir": str(tmp_path)}
    config = Config("ERM", "d", config_dict=given)
    dataset = create_dataset(config)
    parts = dataset.build()
    _, valid, test = create_samplers(config, dataset, parts)
    ours = FullSortLoader(config, parts[1], KnownPairs(parts[:2], "valid"))
    theirs = FullSortEvalDataLoader(config, parts[1], valid)
    more = FullSortLoader(config, parts[2], KnownPairs(parts, "test")), FullSortEvalDataLoader(config, parts[2], test)
    for one, other in ((ours, theirs), more):
        assert len(one) == len(other) > 1
        for mine, stock in zip(one, other, strict=True):
            assert torch.equal(mine[0][dataset.uid_field], stock[0][dataset.uid_field])
            assert pairs(mine[1]) == pairs(stock[1])
            assert pairs(mine[2:]) == pairs(stock[2:])
            users = mine[0][dataset.uid_field]
            assert all(map(torch.equal, one.uid2positive_item[users], other.uid2positive_item[users]))


def test_rows_are_checked_piece_by_piece(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(atomic, "BYTES_A_PIECE", 7)
    path = tmp_path / "d.inter"
    path.write_text("a:token\tb:token\n" + "".join(f"{row}\t{row}\n" for row in range(50)) + "\n1\t2")
    assert atomic.check_rows(path, atomic.AtomicFormat(), 2) == 51
