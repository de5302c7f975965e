"""RecBole's data set with checked files, any number of test sets, and modality features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource
from recbole.utils.argument_list import dataset_arguments

from recbole_painvrl.compat.dataset import DatasetRepairs
from recbole_painvrl.data.atomic import AtomicFormat, check_rows, find_bad_number, find_quote, read_header
from recbole_painvrl.data.features import Items, Modality, load_modalities
from recbole_painvrl.data.splits.applied import OodSplits
from recbole_painvrl.errors import UserError, nearest

# RecBole compares these keys before it takes a data set from a cache for the one that was asked for.
if "modalities" not in dataset_arguments:
    dataset_arguments.append("modalities")


class GeneralDataset(OodSplits, DatasetRepairs, Dataset):
    """RecBole's data set, which refuses malformed files by file and line and takes more than three benchmark files.

    Attributes:
        further_tests: The benchmark files after the third and the sets of ``ood_split``, by name, once :meth:`build`
            has run.
    """

    further_tests: dict[str, Dataset]

    def _get_preset(self) -> None:
        super()._get_preset()
        self.further_tests = {}
        names = self.benchmark_filename_list
        if names is not None and (not isinstance(names, list) or len(names) < 3 or len(set(names)) < len(names)):
            expected = "at least three different names: train, valid, test, then any further test sets"
            raise UserError(f"benchmark_filename: {names!r} is not a list of {expected}")

    def _from_scratch(self) -> None:
        """Loads and filters; what RecBole says of keys that do not fit the data is told as any other mistake.

        Raises:
            UserError: A file or a key is wrong, or filtering leaves nothing.
        """
        try:
            super()._from_scratch()
        except ValueError as error:
            raise UserError(f"data set '{self.dataset_name}' ({self.dataset_path}): {error}") from error

    def _load_data(self, token: str, dataset_path: str) -> None:
        """Loads all files, once it is sure that those of the interactions are there."""
        _check_folder(Path(dataset_path), token, self.benchmark_filename_list)
        super()._load_data(token, dataset_path)

    def _load_inter_feat(self, token: str, dataset_path: str) -> None:
        """Loads the interactions; their two ids have to be among the columns."""
        source = FeatureSource.INTERACTION
        for field in (self.uid_field, self.iid_field):
            loaded, unloaded = self._get_load_and_unload_col(source)
            if (loaded is not None and field not in loaded) or field in (unloaded or ()):
                raise UserError(f"load_col and unload_col leave out {field}, without which there is no interaction")
        super()._load_inter_feat(token, dataset_path)

    def _init_alias(self) -> None:
        for name in ("user_id", "item_id"):
            for field in self.config[f"alias_of_{name}"] or []:
                if field not in self.field2type:
                    raise UserError(f"alias_of_{name}: there is no field '{field}'.{nearest(field, self.field2type)}")
        super()._init_alias()

    def _filter_by_field_value(self) -> None:
        """Filters by the key ``val_interval``, which says a range of numbers or a list of tokens."""
        for field, allowed in (self.config["val_interval"] or {}).items():
            kind = self.field2type[field].value if field in self.field2type else "unknown"
            if kind not in (("float", "float_seq") if isinstance(allowed, str) else ("token", "token_seq")):
                expected = "an interval is for a float column, a list of values for a token column"
                raise UserError(f"val_interval: {allowed!r} does not fit {field}, whose type is {kind}; {expected}")
        super()._filter_by_field_value()

    def _load_feat(self, filepath: str, source: FeatureSource | str) -> pd.DataFrame | None:
        """Loads one atomic file after a check of its header and of the width of its rows.

        Raises:
            UserError: The file is empty, a row has too many or too few cells, a number is none, an id is missing.
        """
        if self._get_load_and_unload_col(source)[0] == set():
            return None
        path, form = Path(filepath), AtomicFormat.from_config(self.config)
        header = read_header(path, form)
        self._check_id_columns(path, header, source)
        n_rows = check_rows(path, form, len(header))
        try:
            frame = super()._load_feat(filepath, source)
        except UserError as error:
            # The reader says which file; the line is looked for only once it is known that there is one.
            raise find_bad_number(path, form, header) or error from error
        if frame is not None:
            self._check_frame(path, frame, n_rows, source)
        return frame

    def _check_id_columns(self, path: Path, header: dict[str, str], source: FeatureSource | str) -> None:
        """Raises if an id column that the file must have is not in its header."""
        needed = {
            FeatureSource.INTERACTION: [self.uid_field, self.iid_field],
            FeatureSource.USER: [self.uid_field],
            FeatureSource.ITEM: [self.iid_field],
        }
        for field in needed.get(source, []):
            if field is not None and header.get(field) != "token":
                found = ", ".join(f"{name}:{kind}" for name, kind in header.items())
                raise UserError(f"{path}, line 1: no column {field}:token (there are {found}).{nearest(field, header)}")

    def _check_frame(self, path: Path, frame: pd.DataFrame, n_rows: int, source: FeatureSource | str) -> None:
        """Raises if rows were lost in reading, or if a ready split has an interaction without user or item."""
        if len(frame) != n_rows:
            raise find_quote(path, AtomicFormat.from_config(self.config))
        for field in frame:
            if self.field2type[field].value == "float" and np.isinf(frame[field]).any():
                form = AtomicFormat.from_config(self.config)
                bad = find_bad_number(path, form, read_header(path, form))
                raise bad or UserError(f"{path}: column {field} holds an infinite number")
        if source != FeatureSource.INTERACTION or self.benchmark_filename_list is None:
            return  # RecBole removes such rows itself and says so, but not from a ready split
        for field in (self.uid_field, self.iid_field):
            if field in frame and (empty := np.flatnonzero(frame[field].isna())).size:
                what = f"row {empty[0] + 1} below the header: {field} is empty or a word for nothing such as NA"
                raise UserError(f"{path}, {what}; remove the row or rename the token")

    def build(self) -> list[Dataset]:
        """Splits the interactions as RecBole does.

        Returns:
            The parts for training, validation and test; all further sets are in :attr:`further_tests`.
        """
        parts = super().build()
        if self.benchmark_filename_list is not None:
            self.further_tests = dict(zip(self.benchmark_filename_list[3:], parts[3:], strict=True))
        self.further_tests.update(self.held_out)
        return parts[:3]


class MultimodalDataset(GeneralDataset):
    """A data set whose items have features in one or more modalities, as the key ``modalities`` says.

    The vocabulary of items is RecBole's: what occurs in the interactions or in a loaded ``.item`` file. Feature files
    never add to it.

    Attributes:
        modalities: Features by modality, in the order of the key.
    """

    modalities: dict[str, Modality]

    def _data_processing(self) -> None:
        super()._data_processing()
        tokens = np.asarray(self.field2id_token[self.iid_field])
        form = AtomicFormat.from_config(self.config)
        items = Items(Path(self.dataset_path), self.dataset_name, tokens, self.iid_field, form)
        self.modalities = load_modalities(
            self.config["modalities"], items, self.config["seed"], self.config["feature_memory"]
        )


def split_warm_cold(train: Dataset, test_dataset: Dataset) -> dict[str, Dataset]:
    """Parts a test set by whether the item of an interaction occurs in training.

    Args:
        train: The built training part.
        test_dataset: A built test part.

    Returns:
        ``{"warm": ..., "cold": ...}``; empty if one of the two would be, as there is nothing to tell apart then.
    """
    seen = torch.zeros(train.item_num, dtype=torch.bool)
    seen[train.inter_feat[train.iid_field]] = True
    warm = seen[test_dataset.inter_feat[test_dataset.iid_field]]
    if bool(warm.all()) or not bool(warm.any()):
        return {}
    return {"warm": _subset(test_dataset, warm), "cold": _subset(test_dataset, ~warm)}


def _subset(dataset: Dataset, mask: torch.Tensor) -> Dataset:
    """Returns a copy with the interactions of ``mask`` (bool [n]); the copy shares everything else."""
    columns = dataset.inter_feat.interaction
    return dataset.copy(Interaction({name: values[mask] for name, values in columns.items()}))


def _check_folder(folder: Path, name: str, benchmark: list[str] | None) -> None:
    """Raises if a file of interactions is not there."""
    wanted = [f"{name}.{part}.inter" for part in benchmark] if benchmark else [f"{name}.inter"]
    found = sorted(path.name for path in folder.glob("*.inter") if path.is_file())
    for file in wanted:
        if file not in found:
            there = f"found {', '.join(found)}" if found else "the folder has no .inter file"
            raise UserError(f"{folder / file}: there is no such file ({there}); benchmark_filename names the parts")
