"""Which parameters are tried next. A proposal depends on the seed, its number and finished trials, on nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice, product
from math import prod
from typing import Any, Protocol

from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import generator
from recbole_painvrl.tuning.space import Space

ATTEMPTS = 100

Parameters = dict[str, Any]
# parameters and loss (smaller is better) of a finished trial, None for one that failed
Finished = tuple[Mapping[str, Any], float | None]


class Proposer(Protocol):
    """A way to search."""

    @property
    def most(self) -> int | None:
        """How many different trials there are; None if there is no end to them."""

    def propose(self, number: int, attempt: int, finished: Sequence[Finished]) -> Parameters | None:
        """Returns the parameters of trial ``number``, at another ``attempt`` others; None if there are no more."""


class Exhaustive:
    """The whole grid, the last parameter changing fastest.

    Raises:
        UserError: A parameter has no end of values.
    """

    def __init__(self, space: Space) -> None:
        endless = [parameter.name for parameter in space if parameter.grid() is None]
        if endless:
            raise UserError(
                f"--algo=exhaustive tries all values, and {', '.join(endless)} has no end of them; say choice, "
                "quniform or intrange there, or --algo=random or tpe"
            )
        self._names = [parameter.name for parameter in space]
        self._grids = [parameter.grid() or [] for parameter in space]
        self.most = prod(map(len, self._grids))

    def propose(self, number: int, attempt: int, finished: Sequence[Finished]) -> Parameters | None:
        """Returns point ``number`` of the grid."""
        if attempt:
            return None
        point = next(islice(product(*self._grids), number, None), None)
        return None if point is None else dict(zip(self._names, point, strict=True))


class Random:
    """Independent draws, one generator a trial."""

    most = None

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed

    def propose(self, number: int, attempt: int, finished: Sequence[Finished]) -> Parameters:
        """Returns a draw."""
        random = generator(self._seed, f"search trial {number}, attempt {attempt}")
        return {parameter.name: parameter.draw(random) for parameter in self._space}


def next_proposal(
    proposer: Proposer, number: int, tried: Sequence[Mapping[str, Any]], finished: Sequence[Finished]
) -> Parameters | None:
    """Returns parameters that none of ``tried`` has, or None if none could be found."""
    known = {identity(parameters) for parameters in tried}
    for attempt in range(ATTEMPTS):
        proposal = proposer.propose(number, attempt, finished)
        if proposal is None or identity(proposal) not in known:
            return proposal
    return None


def identity(parameters: Mapping[str, Any]) -> str:
    """Returns a text that is equal for equal parameters."""
    return json.dumps(parameters, sort_keys=True)


def make_proposer(algorithm: str, space: Space, seed: int) -> Proposer:
    """Returns the way to search that ``algorithm`` names.

    Raises:
        UserError: It cannot search this space, or needs what is not installed.
    """
    if algorithm == "exhaustive":
        return Exhaustive(space)
    if algorithm == "random":
        return Random(space, seed)
    from recbole_painvrl.tuning.tpe import Tpe

    return Tpe(space, seed)
