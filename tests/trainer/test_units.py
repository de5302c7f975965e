from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl.errors import UserError
from recbole_painvrl.trainer.units import assignment_units, known_environments, stays


class Feat(dict):
    """Columns by name, as a data set's interactions are."""

    columns = property(lambda self: list(self))


def dataset(**columns: list) -> Any:
    """The part of a built data set that units are read from."""
    feat = Feat({name: torch.tensor(values) for name, values in columns.items()})
    names = np.array(["[PAD]", "summer", "winter"])
    return SimpleNamespace(
        inter_feat=feat,
        uid_field="user_id",
        time_field="timestamp",
        dataset_name="toy",
        id2token=lambda _field, ids: names[ids],
    )


def test_a_pause_or_another_user_begins_a_stay() -> None:
    users = torch.tensor([1, 2, 1, 1, 2, 1])
    times = torch.tensor([100.0, 101.0, 80.0, 90.0, 131.0, 0.0])
    assert stays(users, times, 30.0).tolist() == [1, 2, 1, 1, 3, 0]


def test_units_follow_their_level() -> None:
    data = dataset(user_id=[1, 1, 2], session_id=[5, 6, 7], timestamp=[0.0, 10.0, 10.0])
    assert assignment_units("interaction", data, 60.0) is None
    assert assignment_units("user", data, 60.0).tolist() == [1, 1, 2]
    assert assignment_units("session", data, 60.0).tolist() == [5, 6, 7]
    assert assignment_units("time", data, 60.0).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "env_level time needs the column 'timestamp'.*only user_id"),
        ({"timestamp": [1, 2]}, "'timestamp' to be of type float"),
    ],
)
def test_stays_need_times(columns: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        assignment_units("time", dataset(user_id=[1, 1], **columns), 60.0)


def test_times_too_coarse_for_the_gap_are_refused() -> None:
    """Seconds since 1970 are kept in steps of 128."""
    data = dataset(user_id=[1, 1], timestamp=[1.7e9, 1.7e9 + 1000])
    with pytest.raises(UserError, match=r"env_gap 511: times as large as .*'timestamp'.* in steps of 128; take 512"):
        assignment_units("time", data, 511.0)
    assert assignment_units("time", data, 512.0).tolist() == [0, 1]


def test_known_environments_are_counted() -> None:
    data = dataset(environment=[2, 2, 1, 1, 2])
    known = known_environments(data, torch.tensor([0, 0, 1, 1, 1]))["known"]
    assert known["table"] == [[0, 2], [2, 1]]
    assert (known["field"], known["names"]) == ("environment", ["summer", "winter"])
    assert 0 < known["ari"] < 1 and 0 < known["nmi"] < 1
    same = known_environments(data, torch.tensor([1, 1, 0, 0, 1]))["known"]
    assert same["ari"] == pytest.approx(1) and same["nmi"] == pytest.approx(1)


def test_unknown_environments_are_not_mentioned() -> None:
    assert known_environments(dataset(user_id=[1, 2]), torch.tensor([0, 1])) == {}
