"""Products of single pairs of rows against the full matrix, in whatever order and number they come."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_painvrl.products import pair_products
from recbole_painvrl.randomness import generator

USERS, ITEMS, WIDTH = 5, 7, 3


def tables(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Returns random vectors of users and, as a view that is not contiguous, of items."""
    draws = generator(1, "products")
    items = torch.randn(WIDTH, ITEMS, generator=draws).to(dtype).T
    return torch.randn(USERS, WIDTH, generator=draws).to(dtype), items


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("n", [0, 1, 30, 1000])
@pytest.mark.parametrize("grouped", [True, False])
def test_scores_are_entries_of_the_full_matrix(dtype: torch.dtype, n: int, grouped: bool) -> None:
    """1,000 pairs have each place many times over, more entries than a pattern may have when users are together."""
    users, items = tables(dtype)
    draws = generator(n, "which")
    user = torch.randint(USERS, (n,), generator=draws)
    user = user.sort().values if grouped else user
    item = torch.randint(ITEMS, (n,), generator=draws)
    found = pair_products(users, items, user, item)
    assert found.dtype == dtype and found.shape == (n,)
    torch.testing.assert_close(
        found,
        (users @ items.T)[user, item],
        rtol=0.02 if dtype == torch.bfloat16 else None,
        atol=0.02 if dtype == torch.bfloat16 else None,
    )


@pytest.mark.parametrize("item", [-1, ITEMS])
def test_an_item_outside_its_table_is_an_error_and_not_a_read_of_other_memory(item: int) -> None:
    with pytest.raises(IndexError, match=r"0\.\.6, but"):
        pair_products(*tables(), torch.tensor([0, 1]), torch.tensor([2, item]))


def test_a_user_outside_his_table_is_an_error() -> None:
    with pytest.raises(IndexError):
        pair_products(*tables(), torch.tensor([USERS]), torch.tensor([2]))
