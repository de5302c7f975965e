"""What is assigned to an environment as one, and how found environments compare with known ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from torch import Tensor

from recbole_painvrl.errors import UserError

LEVELS = ("interaction", "user", "session", "time")
SESSION_FIELD = "session_id"
KNOWN_FIELD = "environment"
STEPS = 4  # of the time column that a gap has to be long


def assignment_units(level: str, dataset: Any, gap: float) -> Tensor | None:
    """Returns the number of each training interaction's unit, long [n]; None where each is by itself.

    Args:
        level: One of LEVELS.
        dataset: Built training data.
        gap: Time between two interactions of a user, in the time column's unit, from which on a new stay begins.

    Raises:
        UserError: if the level's column is missing or holds the wrong kind of values, or times too coarse for the gap.
    """
    if level == "interaction":
        return None
    if level == "time":
        return stays(column(dataset.uid_field, dataset, "env_level time"), _times(dataset, gap), gap)
    return column(dataset.uid_field if level == "user" else SESSION_FIELD, dataset, f"env_level {level}")


def stays(users: Tensor, times: Tensor, gap: float) -> Tensor:
    """Returns the number of each row's stay, long [n]: rows of one user with less than ``gap`` between neighbors."""
    order = torch.argsort(times, stable=True)
    order = order[torch.argsort(users[order], stable=True)]
    new_user = users[order].diff(prepend=users[order][:1]) != 0
    pause = times[order].diff(prepend=times[order][:1]) >= gap
    found = torch.empty_like(order)
    found[order] = (new_user | pause).cumsum(0)
    return found


def column(field: str, dataset: Any, reader: str) -> Tensor:
    """Returns a column of the training interactions, long [n].

    Raises:
        UserError: if there is no such column or it holds no tokens.
    """
    if field not in dataset.inter_feat:
        raise UserError(
            f"{reader} needs a column '{field}' in the interactions of {dataset.dataset_name}, but there are only "
            f"{', '.join(dataset.inter_feat.columns)}; add it to the .inter files and to load_col"
        )
    values = dataset.inter_feat[field]
    if values.is_floating_point() or values.dim() != 1:
        raise UserError(f"{reader} needs the column '{field}' to be of type token, as in the header '{field}:token'")
    return values


def _times(dataset: Any, gap: float) -> Tensor:
    """The time of each interaction, double [n], told apart finely enough for stays that end after ``gap``."""
    field = dataset.time_field
    if field not in dataset.inter_feat:
        raise UserError(
            f"env_level time needs the column '{field}' (TIME_FIELD) in the interactions of {dataset.dataset_name}, "
            f"but there are only {', '.join(dataset.inter_feat.columns)}; add it to load_col, or use another env_level"
        )
    values = dataset.inter_feat[field]
    if values.dim() != 1 or not values.is_floating_point():
        raise UserError(f"env_level time needs the column '{field}' to be of type float, as in '{field}:float'")
    step = float(np.spacing(np.float32(values.abs().max()))) if values.dtype == torch.float32 and len(values) else 0.0
    if gap < STEPS * step:
        raise UserError(
            f"env_gap {gap:g}: times as large as those of the column '{field}' are kept in 32 bits, in steps of "
            f"{step:g}; take {STEPS * step:g} or more, or count the times from a later moment"
        )
    return values.double()


def known_environments(dataset: Any, labels: Tensor) -> dict[str, Any]:
    """Returns ``known``, the agreement of labels [n] with the column ``environment``; nothing without that column.

    ``table`` counts the interactions of each found (rows) and known environment (columns, in the order of ``names``).
    """
    if KNOWN_FIELD not in dataset.inter_feat or dataset.inter_feat[KNOWN_FIELD].is_floating_point():
        return {}
    present, known = torch.unique(dataset.inter_feat[KNOWN_FIELD].cpu(), return_inverse=True)
    shape = (int(labels.max()) + 1, present.numel())
    table = torch.bincount(labels * shape[1] + known, minlength=shape[0] * shape[1]).view(shape)
    found = {
        "field": KNOWN_FIELD,
        "names": [str(name) for name in dataset.id2token(KNOWN_FIELD, present.numpy())],
        "ari": float(adjusted_rand_score(known, labels)),
        "nmi": float(normalized_mutual_info_score(known, labels)),
        "table": table.tolist(),
    }
    return {"known": found}
