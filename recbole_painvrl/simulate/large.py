"""Draws the choices and features of a large data set block by block; no table of users x items is ever made.

Letters: U users, I items, E training environments, B choices of a block, P proposals, D columns, L latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recbole_painvrl.randomness import derive_seed
from recbole_painvrl.simulate.generator import INVARIANT, NOISE, SPURIOUS
from recbole_painvrl.simulate.scales import LEAST, Scale

CHOICES_A_BLOCK = 65_536
NUMBERS_A_BLOCK = 4_000_000  # of features: 16 MB
PARTS = 16  # of 16 columns of a modality 6 are invariant, 6 spurious and 4 noise, as in the recipes
REDRAWS = 8  # rounds after which a repeated choice is made from items regardless of their popularity
SETS = ("train", "valid", "test", "test_ood")


@dataclass(frozen=True)
class Block:
    """Choices of a block of users, [B] each; ``sets`` are positions in ``SETS``, environment E is that of test_ood."""

    users: np.ndarray
    items: np.ndarray
    environments: np.ndarray
    sets: np.ndarray


class Large:
    """A data set of a scale: what is small enough to be kept; choices and features are made when asked for.

    Attributes:
        scale: What it is made by.
        seed: What it is drawn with.
        degrees: [U] choices of each user in training, validation and test.
        factors: For each kind float32 [I, L] latent factors of the items.
        truth: For each modality [D]: 1 invariant, 0 spurious, -1 noise.
    """

    def __init__(self, scale: Scale, seed: int) -> None:
        self.scale, self.seed = scale, seed
        self.degrees = degrees(self.stream("degrees"), scale)
        draw = self.stream("items")
        shape = scale.items, scale.latent
        self.factors = {kind: _normal(draw, shape) for kind in (INVARIANT, SPURIOUS, NOISE)}
        popularity = draw.permutation(np.arange(1, scale.items + 1, dtype=np.float64) ** -scale.decay)
        self._climb = np.cumsum(popularity / popularity.sum())
        self.truth = {name: draw.permutation(_kinds(width)) for name, width in scale.widths.items()}

    def stream(self, purpose: str) -> np.random.Generator:
        """Returns the generator of one purpose."""
        return np.random.default_rng(derive_seed(self.seed, f"simulate scale {purpose}"))

    @property
    def n_choices(self) -> int:
        """All choices, those of test_ood included."""
        return int((self.degrees + _held_out(self.degrees)).sum())

    def choices(self) -> Iterator[Block]:
        """Yields all choices in order of user, whole users at a time, no item twice for one user."""
        ends = np.cumsum(self.degrees + _held_out(self.degrees))
        start = 0
        while start < self.scale.users:
            done = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + CHOICES_A_BLOCK, side="right")))
            yield self._block(np.arange(start, stop))
            start = stop

    def _block(self, members: np.ndarray) -> Block:
        """Lets the users ``members``, neighbors in number, choose."""
        draw, scale = self.stream(f"choices {members[0]}"), self.scale
        users, environments, sets = self._plan(draw, members)
        strength = np.array([*scale.gamma, scale.gamma_ood], dtype=np.float32) * scale.spurious
        tastes = [_normal(draw, (len(members), scale.latent)) / scale.latent**0.5 for _ in range(2)]
        place = users - members[0]
        weights = tastes[0][place] * np.float32(scale.invariant), tastes[1][place] * strength[environments][:, None]
        return Block(users, self._different(draw, users, weights), environments, sets)

    def _plan(self, draw: np.random.Generator, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """User, environment and set of each choice; a user visits the environments in turn, from a random one on."""
        known, held = self.degrees[members], _held_out(self.degrees[members])
        counts, n_known = known + held, len(self.scale.gamma)
        place = np.repeat(np.arange(len(members)), counts)
        position = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
        ends = np.stack([known - 2 * held, known - held, known], axis=1)
        sets = (position[:, None] >= ends[place]).sum(axis=1)
        first = draw.integers(n_known, size=len(members))
        environments = np.where(sets == SETS.index("test_ood"), n_known, (position + first[place]) % n_known)
        return members[place], environments, sets

    def _different(
        self, draw: np.random.Generator, users: np.ndarray, weights: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Items chosen [B], drawn anew where a user has the item already."""
        items = self._choose(draw, weights, by_popularity=True)
        again = _repeated(users, items, self.scale.items)
        rounds = 0
        while len(again):
            rounds += 1
            part = weights[0][again], weights[1][again]
            items[again] = self._choose(draw, part, by_popularity=rounds <= REDRAWS)
            again = _repeated(users, items, self.scale.items)
        return items

    def _choose(
        self, draw: np.random.Generator, weights: tuple[np.ndarray, np.ndarray], by_popularity: bool
    ) -> np.ndarray:
        """The best of each choice's proposals, [B]."""
        shape, n_items = (len(weights[0]), self.scale.proposals), self.scale.items
        if by_popularity:
            drawn = np.minimum(np.searchsorted(self._climb, draw.random(shape)), n_items - 1)
        else:
            drawn = draw.integers(n_items, size=shape)
        # Gumbel noise; in single precision one draw in millions is 0
        utility = -np.log(np.maximum(draw.standard_exponential(shape, dtype=np.float32), np.finfo(np.float32).tiny))
        for kind, weight in zip((INVARIANT, SPURIOUS), weights, strict=True):
            utility += np.einsum("bpl,bl->bp", self.factors[kind][drawn], weight)
        return np.take_along_axis(drawn, utility.argmax(axis=1)[:, None], axis=1)[:, 0]

    def features(self, name: str) -> Iterator[np.ndarray]:
        """Yields the features of a modality block by block, float32 [rows, D]."""
        kinds, latent = self.truth[name], self.scale.latent
        loadings = _normal(self.stream(f"loadings {name}"), (latent, len(kinds)))
        loadings /= np.linalg.norm(loadings, axis=0) * 2**0.5
        step = max(1, NUMBERS_A_BLOCK // len(kinds))
        for start in range(0, self.scale.items, step):
            rows = slice(start, min(start + step, self.scale.items))
            block = _normal(self.stream(f"features {name} {start}"), (rows.stop - start, len(kinds)))
            block *= np.float32(0.5**0.5)
            for kind, factors in self.factors.items():
                block[:, kinds == kind] += factors[rows] @ loadings[:, kinds == kind]
            yield block

    def titles(self) -> Iterator[str]:
        """Yields the words of each item as text; they tell nothing of the tastes."""
        draw, step = self.stream("titles"), 4096
        for start in range(0, self.scale.items, step):
            lengths = 1 + draw.poisson(6, size=min(step, self.scale.items - start))
            words = np.minimum(draw.pareto(1.0, size=lengths.sum()) * 50, self.scale.words - 1).astype(np.int64)
            yield from (" ".join(map(str, title)) for title in np.split(words, np.cumsum(lengths)[:-1]))


def degrees(draw: np.random.Generator, scale: Scale) -> np.ndarray:
    """Numbers of choices that add up to ``interactions``, power-law above ``LEAST``, [U]."""
    raw = draw.pareto(scale.tail - 1, size=scale.users) + 0.1
    spare, most = scale.interactions - LEAST * scale.users, scale.most - LEAST
    found = np.minimum(np.floor(raw * (spare / raw.sum())).astype(np.int64), most)
    while (rest := spare - int(found.sum())) > 0:
        open_ = np.flatnonzero(found < most)
        found[draw.permutation(open_)[:rest]] += 1
    return found + LEAST


def _held_out(numbers: np.ndarray) -> np.ndarray:
    """Choices of each user in each of validation, test and test_ood: a tenth, at least one."""
    return np.maximum(1, numbers // 10)


def _kinds(width: int) -> np.ndarray:
    """Kinds of a modality's columns in the recipes' proportions, [D]."""
    return np.array([INVARIANT] * 6 + [SPURIOUS] * 6 + [NOISE] * 4)[np.arange(width) % PARTS]


def _normal(draw: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return draw.standard_normal(shape, dtype=np.float32)


def _repeated(users: np.ndarray, items: np.ndarray, n_items: int) -> np.ndarray:
    """Rows whose user has the item in an earlier row."""
    keys = users * n_items + items
    order = np.argsort(keys, kind="stable")
    later = order[1:][keys[order[1:]] == keys[order[:-1]]]
    return np.sort(later)
