"""Item content: every modality's features side by side, ready for a projection.

Letters: I items (row 0 is RecBole's padding), M modalities, D total feature width, D_m width of one modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_painvrl.errors import one_of
from recbole_painvrl.model.leading import LeadingDirections
from recbole_painvrl.model.rotation import ROTATIONS, rotate
from recbole_painvrl.model.side_by_side import as_one
from recbole_painvrl.model.words import WordTable

if TYPE_CHECKING:
    from recbole_painvrl.data.features import Modality

SIMILARITY_DIRECTIONS = 256  # a modality's leading directions that similarities use; further ones are mostly noise


@dataclass(frozen=True)
class Block:
    """Where one modality stands among the D columns: ``[start, stop)``."""

    name: str
    start: int
    stop: int


class Taken(NamedTuple):
    """Some items' features.

    Attributes:
        items: Their ids [M].
        dense: Their rows of the matrix of features [M, D].
    """

    items: Tensor
    dense: Tensor


def _whitened(blocks: list[tuple[np.ndarray, np.ndarray | None]]) -> Tensor:
    """Returns features [I, D_m] of equal variance side by side [I, D]; zeros where there are none.

    Args:
        blocks: Features and the items that have some, bool [I]; None where word vectors stand.
    """
    found = torch.zeros(len(blocks[0][0]) if blocks else 0, sum(values.shape[1] for values, _ in blocks))
    start = 0
    for values, present in blocks:
        stop = start + values.shape[1]
        if present is not None:
            turned = rotate(values, present, "zca", SIMILARITY_DIRECTIONS)
            np.multiply(turned, present[:, None], out=found.numpy()[:, start:stop])
        start = stop
    return found


def _with_features(modality: Modality) -> np.ndarray:
    """Returns which items have features of their own, bool [I]; the others have the mean row, or no word."""
    present: np.ndarray = ~modality.missing
    present[0] = False
    return present


class ContentFeatures(nn.Module):
    """The features of all modalities side by side.

    The matrix is the data set's own wherever that is possible, so that models may share it. Its columns of learned
    words mean nothing to a model until it has written vectors there that learn no more (:meth:`hold_words`).

    Attributes:
        present: For each modality, which items have features of their own, bool [I] on the host.
        holds_words: Whether the matrix has this model's word vectors.

    Args:
        modalities: the data set's modalities by name, in the order of the columns.
        rotation: one of ``none``, ``pca``, ``whiten``, ``zca``; learned word tables are never rotated.
        similarity: whether :meth:`similarity_features` will be asked for; without it nothing is whitened.
        columns: whether its columns have to be the features' own; otherwise a wide modality is compared by coordinates
            along its leading directions, which have the same inner products and take less room.

    Raises:
        UserError: if ``rotation`` is none of them.
    """

    dense: Tensor
    whitened: Tensor
    unturned_dense: Tensor
    unturned_whitened: Tensor

    def __init__(
        self, modalities: dict[str, Modality], rotation: str = "none", similarity: bool = True, columns: bool = True
    ) -> None:
        super().__init__()
        one_of("feature_rotation", rotation, ROTATIONS)
        self.blocks: list[Block] = []
        self.tables, self.leading = nn.ModuleDict(), nn.ModuleDict()
        dense, start = [], 0
        compared: list[tuple[np.ndarray, np.ndarray | None]] = []
        for name, modality in modalities.items():
            self.blocks.append(Block(name, start, start + modality.dimension))
            start += modality.dimension
            if modality.words is not None:
                self.tables[name] = WordTable(modality.words, modality.dimension)
                # no memory before it is written to, which it never is
                dense.append(np.broadcast_to(np.float32(0), (modality.words.shape[0], modality.dimension)))
                if similarity:
                    compared.append((dense[-1], None))
            else:
                present = _with_features(modality)
                dense.append(rotate(np.asarray(modality.values), present, rotation))
                if similarity and not columns and modality.dimension > 2 * SIMILARITY_DIRECTIONS:
                    self.leading[name] = LeadingDirections(dense[-1], present, SIMILARITY_DIRECTIONS)
                elif similarity:
                    compared.append((dense[-1], present))
        self.present = [torch.from_numpy(_with_features(modality)) for modality in modalities.values()]
        self.dimension = start
        self.turnable = self.holds_words = False
        self.register_buffer("dense", as_one(dense), persistent=False)
        self.register_buffer("whitened", _whitened(compared), persistent=False)

    def ranges(self) -> list[tuple[int, int]]:
        """Returns the columns ``[start, stop)`` of each modality."""
        return [(block.start, block.stop) for block in self.blocks]

    def make_turnable(self) -> None:
        """Gives each modality axes of its own, which :meth:`turn` changes and which are stored with the model."""
        self.turnable = True
        for number, block in enumerate(self.blocks):
            self.register_buffer(f"axes_{number}", torch.eye(block.stop - block.start))
        for name in ("dense", "whitened"):
            self.register_buffer(f"unturned_{name}", getattr(self, name), persistent=False)

    @property
    def axes(self) -> list[Tensor]:
        """The axes [D_m, D_m] of each modality, a column each, in terms of its features' columns."""
        return [getattr(self, f"axes_{number}") for number in range(len(self.blocks))]

    def turn(self, bases: list[Tensor]) -> None:
        """Turns the features of each modality from their present axes to others.

        Args:
            bases: orthogonal [D_m, D_m] for each modality, the new axes as columns in terms of the present ones.
        """
        for axes, basis in zip(self.axes, bases, strict=True):
            axes.copy_(axes @ basis)
        self._see_along_axes()

    @torch.no_grad()
    def hold_words(self, held: bool = True) -> None:
        """Writes the present word vectors into the matrix, for as long as they do not learn.

        Whoever needs all features together then needs no copy, and no step adds up the words of its items again.

        Args:
            held: False for vectors that follow the word tables, as in the beginning.
        """
        self.holds_words = held and len(self.tables) > 0
        _HOLDING.discard(self)
        if not self.holds_words:
            return
        name = "unturned_dense" if self.turnable else "dense"
        matrix = getattr(self, name)
        if any(other.is_on(matrix) for other in _HOLDING):
            matrix = matrix.clone()
            setattr(self, name, matrix)
        _HOLDING.add(self)
        for block in self.blocks:
            if block.name in self.tables:
                matrix[:, block.start : block.stop] = self.tables[block.name]()
        if self.turnable:
            self._see_along_axes()

    def is_on(self, matrix: Tensor) -> bool:
        """Returns whether what is written into ``matrix`` [I, D] is written into these features."""
        own = self.unturned_dense if self.turnable else self.dense
        return own.data_ptr() == matrix.data_ptr()

    def _see_along_axes(self) -> None:
        self.dense = along(self.axes, self.unturned_dense)
        if self.unturned_whitened.numel():
            self.whitened = along(self.axes, self.unturned_whitened)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        if self.turnable:
            self._see_along_axes()

    def forward(self) -> Tensor:
        """Returns the features [I, D]; differentiable in the word tables where these learn."""
        if not any(map(self._learns, self.blocks)):
            return self.dense
        parts = [
            self._words(number, block.name) if self._learns(block) else self.dense[:, block.start : block.stop]
            for number, block in enumerate(self.blocks)
        ]
        return torch.cat(parts, dim=1)

    def taken(self, items: Tensor) -> Taken:
        """Returns the features of some items [M], to be projected as often as one likes."""
        return Taken(items, self.dense.index_select(0, items))

    def project(
        self, weight: Tensor, bias: Tensor | None = None, learns: bool = True, taken: Taken | None = None
    ) -> Tensor:
        """Returns ``features @ weight.T + bias`` [I, k] without a copy of the features, or [M, k] of the taken items.

        A mask ``m`` on the columns belongs into the weight, for ``(m * x) @ W.T = x @ (W * m).T``.

        Args:
            weight: [k, D].
            bias: [k].
            learns: whether word vectors get gradients.
            taken: what :meth:`taken` returned; None for all items.
        """
        dense = self.dense if taken is None else taken.dense
        parts = [(dense[:, start:stop], start, stop) for start, stop in self._given()]
        for number, block in enumerate(self.blocks):
            if self._learns(block):
                vectors = self._words(number, block.name, None if taken is None else taken.items)
                parts.append((vectors if learns else vectors.detach(), block.start, block.stop))
        (values, start, stop), *others = parts
        found = F.linear(values, weight[:, start:stop], bias)
        for values, start, stop in others:
            found = torch.addmm(found, values, weight[:, start:stop].T)
        return found

    def _learns(self, block: Block) -> bool:
        """Returns whether a modality's vectors come from its word table, not from the matrix."""
        return block.name in self.tables and not self.holds_words

    def _given(self) -> list[tuple[int, int]]:
        """Returns the columns ``[start, stop)`` that the matrix holds, those side by side as one."""
        runs: list[tuple[int, int]] = []
        for block in self.blocks:
            if self._learns(block):
                continue
            joined = bool(runs) and runs[-1][1] == block.start
            runs[-1:] = [(runs[-1][0], block.stop)] if joined else [*runs[-1:], (block.start, block.stop)]
        return runs

    def _words(self, number: int, name: str, items: Tensor | None = None) -> Tensor:
        vectors: Tensor = self.tables[name](items)
        return vectors @ self.axes[number] if self.turnable else vectors

    @torch.no_grad()
    def similarity_features(self, mask: Tensor | None = None) -> Tensor:
        """Returns rows [I, D or fewer] of unit length whose inner products say how alike the content of two items is.

        Each modality is whitened (``zca``, so that the columns keep their meaning for the mask), masked and scaled to
        unit length, since the leading directions of raw features are shared by nearly all items. Items without
        features get zeros. Word vectors are not whitened: they were learned to tell items apart.

        Args:
            mask: [D] in [0, 1], multiplied onto the columns; None keeps all.
        """
        widths = [self._similarity_width(block) for block in self.blocks]
        found = self.dense.new_empty(len(self.dense), sum(widths))
        start = 0
        for number, (block, part) in enumerate(zip(self.blocks, found.split(widths, dim=1), strict=True)):
            share = None if mask is None else mask[block.start : block.stop]
            if block.name in self.leading:
                part.copy_(self.leading[block.name](share))
            else:
                stop = start + block.stop - block.start
                own = self._compared(number, block, self.whitened[:, start:stop])
                part.copy_(own) if share is None else torch.mul(own, share, out=part)
                start = stop
            F.normalize(part, dim=1, out=part)
        return F.normalize(found, dim=1, out=found)

    def _compared(self, number: int, block: Block, whitened: Tensor) -> Tensor:
        """Returns the vectors [I, D_m] by which items are compared in a modality."""
        if block.name not in self.tables:
            return whitened
        return self._words(number, block.name) if self._learns(block) else self.dense[:, block.start : block.stop]

    def _similarity_width(self, block: Block) -> int:
        if block.name in self.leading:
            return cast(LeadingDirections, self.leading[block.name]).axes.shape[1]
        return block.stop - block.start

    def dimension_names(self) -> list[tuple[str, int]]:
        """Returns (modality, dimension within it) of each of the D columns."""
        return [(block.name, column) for block in self.blocks for column in range(block.stop - block.start)]


# Models whose word vectors stand in a matrix that further ones may share.
_HOLDING: WeakSet[ContentFeatures] = WeakSet()


def along(bases: list[Tensor], table: Tensor) -> Tensor:
    """Returns a table [n, D] with each modality's columns along new axes, the columns of its basis [D_m, D_m]."""
    widths = [len(basis) for basis in bases]
    parts = [part @ basis for part, basis in zip(table.split(widths, dim=1), bases, strict=True)]
    return torch.cat(parts, dim=1)
