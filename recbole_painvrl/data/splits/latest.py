"""Kind ``time``: the latest interactions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_painvrl.errors import UserError


def hold_latest(times: NDArray[Any], share: float) -> NDArray[Any]:
    """Returns which rows are later than a moment, bool [n], such that at most ``share`` of them are.

    Interactions of the same moment stay together, on the earlier side.

    Args:
        times: [n] finite time of each row.
        share: Share of the rows.

    Raises:
        UserError: No moment parts the rows so.
    """
    n_held = max(1, round(share * len(times)))
    moment = np.sort(times)[max(0, len(times) - n_held - 1)]
    held: NDArray[Any] = times > moment
    if not held.any():
        raise UserError(f"ood_split.share: the latest {share:.3g} of the interactions have one timestamp; raise share")
    return held
