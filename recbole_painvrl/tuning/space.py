"""What a parameter of a search may be: one of several values, or a number of a range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch


class Parameter(Protocol):
    """One key and what it may be."""

    @property
    def name(self) -> str:
        """The key."""

    def draw(self, random: torch.Generator) -> Any:
        """Returns one value."""

    def grid(self) -> list[Any] | None:
        """Returns all values in order; None if there are too many to count."""

    def shown(self) -> str:
        """Returns what it may be, for a user to read."""


@dataclass(frozen=True)
class Choice:
    """One of ``options``, all equally likely."""

    name: str
    options: tuple[Any, ...]

    def draw(self, random: torch.Generator) -> Any:
        """Returns one of the options."""
        return self.options[int(torch.randint(len(self.options), (), generator=random))]

    def grid(self) -> list[Any]:
        """Returns the options."""
        return list(self.options)

    def shown(self) -> str:
        """Returns the options."""
        return f"one of {', '.join(map(str, self.options))}"


@dataclass(frozen=True)
class Uniform:
    """A number from ``low`` to ``high``, or with ``log`` one whose natural logarithm is."""

    name: str
    low: float
    high: float
    log: bool = False

    def draw(self, random: torch.Generator) -> float:
        """Returns a number."""
        return self.value(self.low + (self.high - self.low) * _share(random))

    def value(self, number: float) -> float:
        """Returns the value that a number between the bounds stands for."""
        return math.exp(number) if self.log else number

    def grid(self) -> None:
        """Returns None: there are too many."""
        return None

    def shown(self) -> str:
        """Returns the bounds, of a logarithm the numbers that they stand for."""
        text = f"{self.value(self.low):.4g} to {self.value(self.high):.4g}"
        return f"{text}, evenly on a logarithmic scale" if self.log else text


@dataclass(frozen=True)
class Stepped:
    """A multiple of ``step`` from ``low`` to ``high``, each as likely as it is near for a number between.

    Whole numbers if all three are.
    """

    name: str
    low: float
    high: float
    step: float

    def draw(self, random: torch.Generator) -> float | int:
        """Returns a multiple."""
        return self.value(self.low + (self.high - self.low) * _share(random))

    def value(self, number: float) -> float | int:
        """Returns the multiple within the bounds that is next to ``number``."""
        first, last = self._ends()
        return self._multiple(min(max(round(number / self.step), first), last))

    def grid(self) -> list[Any]:
        """Returns all multiples."""
        first, last = self._ends()
        return [self._multiple(factor) for factor in range(first, last + 1)]

    def shown(self) -> str:
        """Returns the bounds and the step."""
        values = self.grid()
        return f"{values[0]} to {values[-1]} in steps of {self.step:g}"

    def _ends(self) -> tuple[int, int]:
        return math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)

    def _multiple(self, factor: int) -> float | int:
        if all(float(number).is_integer() for number in (self.low, self.high, self.step)):
            return factor * int(self.step)
        return float(f"{factor * self.step:.12g}")  # 3 * 0.1 is meant to be 0.3


@dataclass(frozen=True)
class Whole:
    """A whole number from ``low`` to ``high``, all equally likely."""

    name: str
    low: int
    high: int

    def draw(self, random: torch.Generator) -> int:
        """Returns a whole number."""
        return int(torch.randint(self.low, self.high + 1, (), generator=random))

    def grid(self) -> list[int]:
        """Returns all of them."""
        return list(range(self.low, self.high + 1))

    def shown(self) -> str:
        """Returns the bounds."""
        return f"whole numbers from {self.low} to {self.high}"


Space = Sequence[Parameter]


def _share(random: torch.Generator) -> float:
    return float(torch.rand((), dtype=torch.float64, generator=random))
