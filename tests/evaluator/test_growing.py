"""A growing table holds what was added, in order, and grows seldom."""

from __future__ import annotations

import pytest
import torch

from recbole_painvrl.evaluator.growing import GrowingTable


@pytest.mark.parametrize("width", [(), (3,)])
def test_rows_stay_in_order(width: tuple[int, ...]) -> None:
    source = torch.Generator().manual_seed(0)
    batches = [torch.randint(9, (size, *width), generator=source, dtype=torch.int32) for size in (2, 1, 7, 0, 3, 30)]
    table = GrowingTable()
    for number, batch in enumerate(batches):
        table.add(batch)
        assert torch.equal(table.rows, torch.cat(batches[: number + 1])) and table.rows.dtype == torch.int32


def test_what_was_added_may_change_afterwards() -> None:
    table, batch = GrowingTable(), torch.ones(2, 2)
    table.add(batch)
    batch.zero_()
    assert bool((table.rows == 1).all())


def test_it_is_copied_a_few_times_only() -> None:
    table, places = GrowingTable(), set()
    for _ in range(1000):
        table.add(torch.zeros(1))
        places.add(table.rows.data_ptr())
    assert len(table.rows) == 1000 and len(places) <= 11


def test_a_table_may_begin_empty() -> None:
    table = GrowingTable()
    table.add(torch.zeros(0, 3, dtype=torch.long))
    table.add(torch.ones(2, 3, dtype=torch.long))
    assert table.rows.tolist() == [[1, 1, 1], [1, 1, 1]]
