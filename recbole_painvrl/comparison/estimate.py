"""How much time is left, from what work alike has taken. All times are in seconds."""

from __future__ import annotations

from collections.abc import Sequence


def side_by_side(seconds: Sequence[float], slots: int) -> float:
    """Returns how long pieces of work take together: a share of their sum, but no less than the longest.

    Args:
        seconds: What each takes; none take no time.
        slots: How many are done at once.
    """
    return max(sum(seconds) / slots, max(seconds, default=0.0))


def times(so_far: float, left: float | None) -> str:
    """Returns the time so far and left, None for unknown, as text."""
    return f"{_clock_time(so_far)} so far, " + (
        "time left unknown" if left is None else f"about {_clock_time(left)} left"
    )


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
