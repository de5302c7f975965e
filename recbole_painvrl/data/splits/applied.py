"""The split that a data set was given: what is written down, and the mixin that applies it while RecBole builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from recbole.data.dataset import Dataset

from recbole_painvrl.data.atomic import AtomicFormat
from recbole_painvrl.data.splits.kinds import split_source
from recbole_painvrl.data.splits.raw import RawFiles
from recbole_painvrl.data.splits.rules import Assigned
from recbole_painvrl.data.splits.settings import resolve_split
from recbole_painvrl.data.splits.source import Source, in_token_order
from recbole_painvrl.data.splits.statistics import as_text, describe
from recbole_painvrl.data.splits.table import SETS, TEST, TEST_OOD, Table
from recbole_painvrl.errors import UserError

_Base: type[Any] = Dataset if TYPE_CHECKING else object

_ROW = "row of ood_split"  # a column that lives only while RecBole splits
HELD_SETS = SETS[TEST_OOD:]


@dataclass
class AppliedSplit:
    """A split of one data set.

    Attributes:
        settings: The resolved key.
        source: What was split.
        labels: [n] set of each interaction; where RecBole splits the rest itself, final once the data set is built.
        dropped: Interactions in no set, by reason.
        details: What was drawn.
    """

    settings: dict[str, Any]
    source: Source
    labels: NDArray[Any]
    dropped: dict[str, int]
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def statistics(self) -> dict[str, dict[str, float]]:
        """Counts of each set."""
        return describe(self.source.table, self.labels)

    def log(self) -> None:
        """Logs the counts."""
        lines = as_text(self.statistics, self.dropped).splitlines()
        for line in [f"ood_split {self.settings['kind']}:", *lines]:
            getLogger().info(line)


class OodSplits(_Base):
    """Mixin before a RecBole ``Dataset``: holds out what the key ``ood_split`` says, before RecBole splits the rest.

    Attributes:
        ood_split: The split, or None; complete once :meth:`build` has run.
        held_out: The held-out sets by name, once :meth:`build` has run.
        test_candidates: For a set, ``new`` if only items without a training interaction are ranked in it.
    """

    ood_split: AppliedSplit | None = None
    inter_feat: Any
    file_size_list: list[int]

    def _get_preset(self) -> None:
        super()._get_preset()
        self._split_settings = resolve_split(self.config["ood_split"])
        self.held_out: dict[str, Dataset] = {}
        self.test_candidates: dict[str, str] = dict(self.config["test_candidates"] or {})
        if self._split_settings is None:
            return
        taken = sorted({*HELD_SETS} & {*(self.benchmark_filename_list or [])})
        if taken:
            what = f"the data set has a benchmark file {', '.join(taken)} already"
            raise UserError(f"ood_split: {what}; leave it out of benchmark_filename, or leave out ood_split")
        if self._split_settings.get("candidates") == "new":
            self.test_candidates |= dict.fromkeys(HELD_SETS, "new")

    def _reset_index(self) -> None:
        self._raw_rows = self.inter_feat.index.to_numpy()  # where the filters left each row of the file
        super()._reset_index()

    def _data_processing(self) -> None:
        super()._data_processing()
        if self._split_settings is not None:
            self._hold_out(self._split_settings)

    def _hold_out(self, settings: dict[str, Any]) -> None:
        """Takes the held-out rows away from the interactions that RecBole will split."""
        sizes = self.file_size_list if self.benchmark_filename_list else [len(self.inter_feat), 0, 0]
        source = _source(self, sizes[:3])
        assigned, details = split_source(source, settings)
        self.ood_split = AppliedSplit(settings, source, assigned.labels, assigned.dropped, details)
        n_split, frame = len(assigned.labels), self.inter_feat
        stays = np.ones(len(frame), dtype=bool)  # further benchmark files stay as they are
        stays[:n_split] = (assigned.labels >= 0) & (assigned.labels <= TEST)
        if self.benchmark_filename_list:
            ends = np.cumsum(sizes)
            self.file_size_list = [int(part.sum()) for part in np.split(stays, ends[:-1])]
        self._held_frames = _held_frames(frame.iloc[:n_split], assigned)
        self._split_rows = np.flatnonzero(stays)
        self.inter_feat = frame[stays].reset_index(drop=True)

    def _reorder_interactions(self, order: NDArray[Any]) -> None:
        super()._reorder_interactions(order)
        if self.ood_split is not None:
            self._split_rows = self._split_rows[order]

    def _change_feat_format(self) -> None:
        super()._change_feat_format()
        if self.ood_split is not None:
            self.inter_feat[_ROW] = torch.arange(len(self.inter_feat))

    def build(self) -> list[Dataset]:
        """Splits what is not held out as RecBole does, and completes :attr:`ood_split` and :attr:`held_out`."""
        parts: list[Dataset] = super().build()
        if self.ood_split is None:
            return parts
        for number, part in enumerate(parts):
            rows = self._split_rows[part.inter_feat.interaction.pop(_ROW).numpy()]
            if number <= TEST:
                self.ood_split.labels[rows] = number
        self.inter_feat.interaction.pop(_ROW, None)
        self.held_out = {name: self._held_part(frame, parts[0]) for name, frame in self._held_frames.items()}
        self.ood_split.log()
        return parts

    def _held_part(self, frame: pd.DataFrame, like: Dataset) -> Dataset:
        columns = self._dataframe_to_interaction(frame)
        for name in set(columns.columns) - set(like.inter_feat.columns):
            del columns[name]
        return self.copy(columns)


def _source(dataset: Any, sizes: list[int]) -> Source:
    """Returns what a split may ask of ``dataset``, whose parts have ``sizes`` rows."""
    n = sum(sizes)
    frame, config = dataset.inter_feat.iloc[:n], dataset.config
    columns = {}
    for name, id_field in (("user", dataset.uid_field), ("item", dataset.iid_field)):
        columns[name] = in_token_order(frame[id_field].to_numpy(), dataset.field2id_token[id_field])
    rows = np.arange(n) if dataset.benchmark_filename_list else dataset._raw_rows
    names = dataset.benchmark_filename_list
    files = RawFiles(
        Path(dataset.dataset_path), dataset.dataset_name, names and names[:3], AtomicFormat.from_config(config)
    )
    fields = {"user": dataset.uid_field, "item": dataset.iid_field, "time": dataset.time_field}
    table = Table(columns["user"][0], columns["item"][0], np.repeat(np.arange(3), sizes))
    return Source(table, rows, columns["user"][1], columns["item"][1], files, fields, config["modalities"])


def _held_frames(frame: pd.DataFrame, assigned: Assigned) -> dict[str, pd.DataFrame]:
    """Returns the rows of each held-out set that has any."""
    found = {name: frame[assigned.labels == SETS.index(name)] for name in HELD_SETS}
    return {name: rows.reset_index(drop=True) for name, rows in found.items() if len(rows)}
