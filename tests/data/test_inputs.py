"""The checkerboard is what its description says."""

from __future__ import annotations

import pandas as pd

from tests.inputs import Board


def test_the_best_unseen_items_of_a_user_are_known(board: Board) -> None:
    every = pd.concat([board.train, board.valid, board.test, board.test_ood])
    assert not every.duplicated(["user_id", "item_id"]).any() and every.user_id.nunique() == 40
    parity = every.assign(user=every.user_id.str[1:].astype(int) % 2, item=every.item_id.str[1:].astype(int) % 2)
    assert (parity.user == parity.item).all()
    assert (every.groupby("user_id").item_id.nunique() == 12).all()
    for part in (board.valid, board.test, board.test_ood):
        assert len(part) == 40 and set(part.item_id) <= set(board.train.item_id)
    assert not set(board.cold) & set(every.item_id)


def test_environments_differ_in_what_the_spurious_features_tell(board: Board) -> None:
    agreeing = board.train.item_id.str[1:].astype(int) < 16
    shares = agreeing.groupby(board.train.environment).mean()
    assert shares["a"] == 1 and shares["b"] == 0.4
    assert (board.train.groupby("session_id").environment.nunique() == 1).all()
    assert (board.test_ood.item_id.str[1:].astype(int) >= 16).all()
