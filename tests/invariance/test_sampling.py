from __future__ import annotations

import pytest
import torch

from recbole_painvrl.invariance import EnvironmentSampler, Interactions, draw_candidates

CPU = torch.device("cpu")


def generator() -> torch.Generator:
    """A generator of its own."""
    return torch.Generator().manual_seed(0)


def test_candidates_are_different_items_without_the_padding_row() -> None:
    drawn = draw_candidates(20, 8, generator(), CPU)
    assert len(set(drawn.tolist())) == 8
    assert int(drawn.min()) >= 1 and int(drawn.max()) <= 20
    for everything in (None, 0, 20, 99):
        assert draw_candidates(20, everything, generator(), CPU).tolist() == list(range(1, 21))


def test_rows_belong_to_their_environment_and_do_not_repeat() -> None:
    labels = torch.tensor([2, 0, 1, 0, 0, 2, 0, 2, 0])
    sampler = EnvironmentSampler(labels, 3, 2, generator())
    for _ in range(20):
        rows, weights = sampler.draw()
        for e in range(3):
            inside = rows[e][weights[e] > 0]
            assert (labels[inside] == e).all()
            assert len(set(inside.tolist())) == inside.numel() == min(2, int((labels == e).sum()))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, dtype=weights.dtype))


def test_every_row_is_drawn_equally_often() -> None:
    sampler = EnvironmentSampler(torch.tensor([0] * 8 + [1] * 3), 2, 4, generator())
    counts = torch.zeros(11)
    for _ in range(2000):
        rows, weights = sampler.draw()
        counts.index_add_(0, rows[weights > 0], torch.ones(int((weights > 0).sum())))
    assert ((counts[:8] / 2000 - 0.5).abs() < 0.05).all()
    assert (counts[8:] == 2000).all()


@pytest.mark.parametrize("batch_size", [None, 0, 100])
def test_whole_environments_need_no_randomness(batch_size: int | None) -> None:
    source = generator()
    before = source.get_state()
    sampler = EnvironmentSampler(torch.tensor([1, 0, 1, 1]), 2, batch_size, source)
    batch = sampler.batch(Interactions(torch.arange(4), torch.arange(4)), torch.tensor([1]), torch.float32)
    assert batch.users[1].tolist() == [0, 2, 3]
    assert batch.weights[0].tolist() == [1, 0, 0]
    assert torch.equal(before, source.get_state())


def test_an_empty_environment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"these have none: \[1\]"):
        EnvironmentSampler(torch.tensor([0, 2]), 3, 2, generator())
