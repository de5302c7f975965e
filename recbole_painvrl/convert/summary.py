"""The counts of a converted data set, and the text that shows them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from recbole_painvrl.convert.raw import Feature, RawData, Split, Words


@dataclass(frozen=True)
class SplitCounts:
    """Counts of one split; cold means without a training interaction, None where there is no training split."""

    interactions: int
    users: int
    items: int
    cold_items: int | None = None
    cold_item_rows: int | None = None
    cold_users: int | None = None
    cold_user_rows: int | None = None


@dataclass(frozen=True)
class ModalityCounts:
    """Size of a modality, how many items with an interaction it covers, and min, median and max of its row norms."""

    rows: int
    dtype: str
    dimension: int
    covered: int
    norms: tuple[float, float, float] | None


@dataclass(frozen=True)
class Summary:
    """What a conversion wrote."""

    folder: str
    users: int
    items: int
    interacted_items: int
    splits: dict[str, SplitCounts]
    modalities: dict[str, ModalityCounts]
    notes: list[str] = field(default_factory=list)

    @property
    def interactions(self) -> int:
        """Number of interactions of the first three splits, so that no row counts twice."""
        return sum(counts.interactions for name, counts in self.splits.items() if not name.startswith("test_"))

    def text(self) -> str:
        """Returns the summary as lines of text."""
        lines = [f"{self.folder}: {self.users:,} users, {self.items:,} items, {self.interactions:,} interactions"]
        lines.append(f"items with an interaction: {_share(self.interacted_items, self.items)}")
        lines += _aligned([_SPLIT_HEAD, *(_split_row(name, counts) for name, counts in self.splits.items())])
        if self.modalities:
            lines += _aligned([_MODALITY_HEAD, *(self._modality_row(name) for name in self.modalities)])
        return "\n".join(lines + [f"note: {note}" for note in self.notes])

    def _modality_row(self, name: str) -> list[str]:
        counts = self.modalities[name]
        norms = "-" if counts.norms is None else " / ".join(f"{norm:.3g}" for norm in counts.norms)
        coverage = _share(counts.covered, self.interacted_items)
        return [name, f"{counts.rows:,}", f"{counts.dimension:,}", counts.dtype, coverage, norms]


_SPLIT_HEAD = ["split", "interactions", "users", "items", "cold items (rows)", "cold users (rows)"]
_MODALITY_HEAD = ["modality", "rows", "dimension", "dtype", "interacted items covered", "row norm min / median / max"]


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / whole:.1f} %)"


def _split_row(name: str, counts: SplitCounts) -> list[str]:
    cold = [(counts.cold_items, counts.cold_item_rows), (counts.cold_users, counts.cold_user_rows)]
    sizes = [f"{size:,}" for size in (counts.interactions, counts.users, counts.items)]
    return [name, *sizes, *("-" if number is None else f"{number:,} ({rows:,})" for number, rows in cold)]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Returns rows of cells as lines, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def summarize(raw: RawData, norms: dict[str, np.ndarray], folder: str) -> Summary:
    """Returns the counts of a checked data set; ``norms`` holds the row norms, [I], of each feature matrix."""
    interacted = np.unique(np.concatenate([split.table["item"].to_numpy() for split in raw.splits.values()]))
    modalities = {name: _feature_counts(feature, norms[name], interacted) for name, feature in raw.features.items()}
    if raw.words is not None:
        modalities["words"] = _word_counts(raw.words, interacted)
    splits = {name: _counts(split, raw.splits.get("train")) for name, split in raw.splits.items()}
    n_users, n_items = len(raw.user_ids()), len(raw.item_ids())
    return Summary(folder, n_users, n_items, len(interacted), splits, modalities, list(raw.notes))


def _feature_counts(feature: Feature, norms: np.ndarray, interacted: np.ndarray) -> ModalityCounts:
    rows, dimension = feature.values.shape
    spread = (float(norms.min()), float(np.median(norms)), float(norms.max()))
    return ModalityCounts(rows, str(feature.values.dtype), dimension, int((interacted < rows).sum()), spread)


def _word_counts(words: Words, interacted: np.ndarray) -> ModalityCounts:
    items = np.unique(words.items)
    covered = int(np.isin(interacted, items).sum())
    return ModalityCounts(len(items), "word ids", len(np.unique(words.words)), covered, None)


def _counts(split: Split, train: Split | None) -> SplitCounts:
    users, items = (split.table[key].to_numpy() for key in ("user", "item"))
    sizes = len(users), len(np.unique(users)), len(np.unique(items))
    if train is None or split is train:
        return SplitCounts(*sizes)
    cold = [_cold(ids, train.table[key].to_numpy()) for key, ids in (("item", items), ("user", users))]
    return SplitCounts(*sizes, *cold[0], *cold[1])


def _cold(ids: np.ndarray, known: np.ndarray) -> tuple[int, int]:
    """Returns how many of ``ids`` are not in ``known``, counted once and as rows."""
    cold = ids[~np.isin(ids, known)]
    return len(np.unique(cold)), len(cold)
