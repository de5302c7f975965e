"""What a split may ask of a data set, whatever its model loads: interactions, times, columns, features.

Users and items are numbered in the order of their tokens, so that a split does not depend on what else was loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from recbole_painvrl.data.features import Items, Modality, load_modalities
from recbole_painvrl.data.splits.clusters import join_blocks
from recbole_painvrl.data.splits.raw import RawFiles
from recbole_painvrl.data.splits.table import Table
from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.randomness import derive_seed

WORD_DIMENSIONS = 64


@dataclass(frozen=True)
class Source:
    """A data set as a split sees it.

    Attributes:
        table: Its interactions.
        rows: [n] row of the files of each interaction.
        users: [U] tokens of the users.
        items: [I] tokens of the items.
        files: Its files.
        fields: Names of the columns: ``user``, ``item`` and ``time``.
        modalities: Value of the key ``modalities``.
    """

    table: Table
    rows: NDArray[Any]
    users: NDArray[Any]
    items: NDArray[Any]
    files: RawFiles
    fields: Mapping[str, str]
    modalities: Any

    def cells(self, suffix: str, field: str) -> NDArray[Any]:
        """Returns the cell of each interaction, of its user or of its item, [n] texts."""
        if suffix == "inter":
            found: NDArray[Any] = self.files.cells(field).to_numpy(dtype=object)[self.rows]
        elif suffix == "item":
            found = self.files.of_tokens("item", self.fields["item"], field, self.items)[self.table.items]
        else:
            found = self.files.of_tokens("user", self.fields["user"], field, self.users)[self.table.users]
        return found

    def features(self, settings: Mapping[str, Any]) -> NDArray[Any]:
        """Returns features of all modalities, or of the one that the split names, float32 [I, D].

        Raises:
            UserError: There are none, or none of that name.
        """
        seed = derive_seed(settings["seed"], "ood_split:features") % 2**32
        items = Items(
            self.files.folder,
            self.files.dataset,
            np.array(["[PAD]", *self.items]),
            self.fields["item"],
            self.files.form,
        )
        # A model without features ({}) says nothing about the data; then the folder's own files are taken.
        loaded = load_modalities(settings["modalities"] or self.modalities or None, items, seed)
        name = settings["modality"]
        if not loaded:
            raise UserError(
                f"ood_split: kind {settings['kind']} needs item features, but {self.files.folder} has none; "
                "say where they come from by modalities"
            )
        if name is not None and name not in loaded:
            raise UserError(f"ood_split.modality: no {name!r} (there are {', '.join(loaded)}).{nearest(name, loaded)}")
        chosen = loaded.values() if name is None else [loaded[name]]
        return join_blocks([_matrix(modality, seed)[1:] for modality in chosen])


def _matrix(modality: Modality, seed: int) -> NDArray[Any]:
    """Returns a modality as numbers; words, whose vectors a model would learn, by a truncated SVD of their counts."""
    if modality.values is not None:
        return modality.values
    assert modality.words is not None
    width = min(WORD_DIMENSIONS, min(modality.words.shape) - 1)
    reduced: NDArray[Any] = (
        TruncatedSVD(max(1, width), random_state=seed).fit_transform(modality.words).astype(np.float32)
    )
    return reduced


def in_token_order(ids: NDArray[Any], tokens: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Numbers ids anew in the order of their tokens.

    Args:
        ids: [n] ids.
        tokens: Token of each id.

    Returns:
        The new number of each of ``ids``, int64 [n], and the tokens that occur, in order.
    """
    present = np.unique(ids)
    texts = np.asarray([str(tokens[number]) for number in present], dtype=object)
    order = np.argsort(texts, kind="stable")
    number_of = np.zeros(len(tokens), dtype=np.int64)
    number_of[present[order]] = np.arange(len(present))
    return number_of[ids], texts[order]
