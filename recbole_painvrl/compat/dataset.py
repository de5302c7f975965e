"""Repairs of RecBole's reading and remapping of atomic files under pandas 2 and 3."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from recbole.utils import FeatureSource, FeatureType

from recbole_painvrl.data.atomic import BYTE_ORDER_MARK
from recbole_painvrl.errors import UserError

if TYPE_CHECKING:
    from recbole.data.dataset import Dataset

# A mixin of its own at run time, so that it stands before any of RecBole's classes.
_Base: type[Any] = Dataset if TYPE_CHECKING else object
ROWS_A_PIECE = 1_000_000
RemapList = list[tuple[pd.DataFrame, str, FeatureType]]


class DatasetRepairs(_Base):
    """Mixin before any RecBole ``Dataset`` class; the tensors are byte-equal to those of RecBole under pandas 2.

    With pandas 3, ``frame[column].fillna(..., inplace=True)`` changes a copy and is lost, in silence, and
    ``Series.agg(len)`` is the length of the column instead of the lengths of its cells. RecBole relies on both. Two
    outcomes are others: where a row lacks its user and a later one its item RecBole removes the wrong rows, and times
    that are one in float32 it leaves unsorted.

    Note:
        Not covered: ``discretization`` of ``float_seq`` fields under pandas 3, which only context-aware models use.

    Source: https://github.com/RUCAIBox/RecBole/blob/v1.2.1/recbole/data/dataset/dataset.py (lines 501, 648-650, 712,
    817-836, 1191, 1217, 1829); no issue is known.
    """

    inter_feat: Any

    def _get_preset(self) -> None:
        super()._get_preset()
        self.field2token_id = TokenNumbers(self.field2id_token)

    def _download(self) -> None:
        """Refuses: RecBole downloads in silence and then waits for a process group that a single process does not have.

        Source: https://github.com/RUCAIBox/RecBole/issues/2050
        """
        raise UserError(
            f"dataset folder {self.dataset_path} does not exist; nothing is downloaded, put the files there"
        )

    def _load_feat(self, filepath: str, source: FeatureSource | str) -> pd.DataFrame | None:
        """Reads one atomic file; the C parser with exact floats gives what RecBole's Python parser gives, faster.

        Raises:
            UserError: If the header or a number cannot be read.
        """
        load_col, unload_col = self._get_load_and_unload_col(source)
        if load_col == set():
            return None
        wanted = {
            field: (column, ftype)
            for column, field, ftype in self._read_header(filepath)
            if (load_col is None or field in load_col) and not (unload_col and field in unload_col)
        }
        if not wanted:
            self.logger.warning(f"No columns has been loaded from [{source}]")
            return None
        frame = self._read_columns(filepath, {column: ftype for column, ftype in wanted.values()})
        frame.columns = list(wanted)
        for field, (_, ftype) in wanted.items():
            self._register_field(field, ftype, source)
            if self.field2type[field].value.endswith("seq"):
                frame[field] = self._split_cells(frame[field], field)
        return frame

    def _load_inter_feat(self, token: str, dataset_path: str) -> None:
        """Loads the interactions; a benchmark file without a sequence column of another one has empty sequences."""
        super()._load_inter_feat(token, dataset_path)
        for field, cells in self.inter_feat.items():
            if self.field2type[field].value.endswith("seq") and cells.isna().any():
                self.inter_feat[field] = [np.array([]) if isinstance(cell, float) else cell for cell in cells]

    def _read_header(self, filepath: str) -> list[tuple[str, str, FeatureType]]:
        """Returns (column as written, field, type) of each column of an atomic file."""
        with open(filepath, encoding=self.config["encoding"] or "utf-8") as file:
            columns = file.readline().removeprefix(BYTE_ORDER_MARK).rstrip("\r\n").split(self.config["field_separator"])
        types = {ftype.value: ftype for ftype in FeatureType}
        header = []
        for column in columns:
            field, colon, ftype = column.partition(":")
            if not colon or ftype not in types:
                raise UserError(
                    f"{filepath}: line 1, column '{column}': expected name:type with type one of {', '.join(types)}, "
                    "columns separated by one tab"
                )
            header.append((column, field, types[ftype]))
        return header

    def _read_columns(self, filepath: str, columns: dict[str, FeatureType]) -> pd.DataFrame:
        separator = self.config["field_separator"]
        # Only pandas' Python parser takes separators of several characters; it knows no float_precision.
        parser: dict[str, Any] = {"engine": "python"}
        if len(separator) == 1:
            parser = {"engine": "c", "float_precision": "round_trip"}
        try:
            pieces = pd.read_csv(
                filepath,
                sep=separator if len(separator) == 1 else re.escape(separator),
                usecols=list(columns),
                dtype={column: np.float64 if ftype == FeatureType.FLOAT else str for column, ftype in columns.items()},
                encoding=self.config["encoding"] or "utf-8",
                chunksize=ROWS_A_PIECE,
                **parser,
            )
            known: dict[str, str] = {}
            return pd.concat([_shared(piece, known) for piece in pieces], ignore_index=True)
        except ValueError as error:
            raise UserError(f"{filepath}: a row does not fit the header ({str(error).strip()})") from error

    def _register_field(self, field: str, ftype: FeatureType, source: FeatureSource | str) -> None:
        if source == "link":  # the fields of a .link file have been registered by the files that they link
            return
        self.field2source[field] = source
        self.field2type[field] = ftype
        if not ftype.value.endswith("seq"):
            self.field2seqlen[field] = 1
        if "float" in ftype.value:
            self.field2bucketnum[field] = 2

    def _split_cells(self, cells: pd.Series, field: str) -> list[np.ndarray]:
        """Splits the cells of a sequence column into arrays, notes the longest and cuts at ``seq_len`` if it is set."""
        convert = float if self.field2type[field] == FeatureType.FLOAT_SEQ else str
        separator = self.config["seq_separator"]
        try:
            rows = [[convert(part) for part in cell.split(separator) if part] for cell in cells.fillna("")]
        except ValueError as error:
            raise UserError(f"column {field}: {error}; expected numbers separated by {separator!r}") from error
        if convert is float and not all(math.isfinite(float(part)) for row in rows for part in row):
            raise UserError(f"column {field}: a value is not finite; expected finite numbers")
        longest = max(map(len, rows), default=0)
        limit = (self.config["seq_len"] or {}).get(field, longest)
        self.field2seqlen[field] = min(limit, longest)
        return [np.array(row[:limit]) for row in rows]

    def _filter_nan_user_or_item(self) -> None:
        """Removes rows without a user or an item, by their labels.

        RecBole takes the label of a row for its place, which it is no more once the first of the two has removed rows.
        """
        for field, source in ((self.uid_field, "user_feat"), (self.iid_field, "item_feat")):
            for name in (source, "inter_feat") if field is not None else ():
                if getattr(self, name) is not None:
                    self._drop_without(field, name)

    def _drop_without(self, field: str, name: str) -> None:
        feat = getattr(self, name)
        dropped = feat.index[feat[field].isnull()]
        if len(dropped):
            where = f"In {name}, line {list(dropped + 2)}"
            self.logger.warning(f"{where}, {field} do not exist, so they will be removed.")
            feat.drop(dropped, inplace=True)

    def _fill_nan(self) -> None:
        """Fills missing tokens with the padding id 0, floats with the column's mean, sequences with empty ones."""
        for name in self.feat_name_list:
            feat = getattr(self, name)
            for field in feat:
                ftype = self.field2type[field]
                if ftype == FeatureType.TOKEN:
                    feat[field] = feat[field].fillna(0)
                elif ftype == FeatureType.FLOAT:
                    mean = feat[field].mean()  # nan where no row has a number
                    feat[field] = feat[field].fillna(0.0 if math.isnan(mean) else mean)
                else:
                    empty = np.array([], dtype=np.int64 if ftype == FeatureType.TOKEN_SEQ else np.float64)
                    feat[field] = [empty if isinstance(cell, float) else cell for cell in feat[field]]

    def _concat_remaped_tokens(self, remap_list: RemapList) -> tuple[np.ndarray, np.ndarray]:
        """Returns all tokens of the columns, one column after the other, and where to split them again."""
        tokens = [
            feat[field].to_numpy(dtype=object) if ftype == FeatureType.TOKEN else np.concatenate(list(feat[field]))
            for feat, field, ftype in remap_list
            if ftype in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
        ]
        return np.concatenate(tokens), np.cumsum([len(column) for column in tokens])[:-1]

    def _remap(self, remap_list: RemapList) -> None:
        """Numbers the tokens of the columns together from 1, in order of appearance; missing ones and padding are 0."""
        if not remap_list:
            return
        tokens, split_point = self._concat_remaped_tokens(remap_list)
        ids, names = pd.factorize(tokens)
        id_token = np.array(["[PAD]", *names])
        for (feat, field, ftype), column in zip(remap_list, np.split(ids + 1, split_point), strict=True):
            if field not in self.field2id_token:
                self.field2id_token[field] = id_token
            feat[field] = column if ftype == FeatureType.TOKEN else np.split(column, _ends(feat[field]))

    def _change_feat_format(self) -> None:
        """Turns the frames into tensors, interactions in the order of their times if that is how they will be split.

        RecBole sorts by the tensor's float32 times, in which Unix times up to 128 seconds apart are one. Its sort is
        stable, so that what is sorted by the frame's float64 times stays so.
        """
        order = self._time_order()
        if order is not None:
            self._reorder_interactions(order)
        super()._change_feat_format()

    def _time_order(self) -> np.ndarray | None:
        """Returns the rows in the order of their times, [n]; None if it does not matter or float32 tells them apart."""
        args, field = self.config["eval_args"], self.time_field
        if self.benchmark_filename_list is not None or args["order"] != "TO" or field not in self.inter_feat:
            return None
        times = self.inter_feat[field].to_numpy()
        if times.dtype != np.float64 or np.array_equal(times.astype(np.float32), times):
            return None
        return np.argsort(times, kind="stable")

    def _reorder_interactions(self, order: np.ndarray) -> None:
        """Puts the rows of the interactions, [n], into another order."""
        self.inter_feat = self.inter_feat.iloc[order].reset_index(drop=True)

    def _normalize(self) -> None:
        """Scales the float fields named by ``normalize_field``, or all of them with ``normalize_all``, to [0, 1]."""
        chosen, everything = self.config["normalize_field"], self.config["normalize_all"]
        if chosen is not None and everything is True:
            raise UserError("normalize_field and normalize_all exclude each other: set one of them to ~")
        for field in chosen or (self.float_like_fields if everything else []):
            if field not in self.field2type:
                raise UserError(f"normalize_field: there is no field '{field}' among {', '.join(self.field2type)}")
            for feat in self.field2feats(field):
                if self.field2type[field] == FeatureType.FLOAT:
                    feat[field] = self._scaled(feat[field].to_numpy(), field)
                elif self.field2type[field] == FeatureType.FLOAT_SEQ:
                    values = self._scaled(np.concatenate(list(feat[field])), field)
                    feat[field] = np.split(values, _ends(feat[field]))
                else:
                    self.logger.warning(f"{field} is not a FLOAT/FLOAT_SEQ feat, which will not be normalized.")

    def _scaled(self, values: np.ndarray, field: str) -> np.ndarray:
        low, high = values.min(), values.max()
        if low == high:
            self.logger.warning(f"All the same value in [{field}].")
            return np.ones_like(values)
        return (values - low) / (high - low)


class TokenNumbers(dict[str, dict[str, int]]):
    """Numbers of tokens by field, where RecBole has a plain dict: a field's are made when they are first asked for.

    A Python object and an entry for each token take 200 bytes of each, and training asks for none.

    Args:
        id_token: Tokens by number of each field, as RecBole's data set holds them.
    """

    def __init__(self, id_token: dict[str, np.ndarray]) -> None:
        super().__init__()
        self._id_token = id_token

    def __missing__(self, field: str) -> dict[str, int]:
        """Makes the numbers of a field's tokens."""
        self[field] = {token: number for number, token in enumerate(self._id_token[field])}
        return self[field]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as what it was made of; what has been made is made again."""
        return type(self), (self._id_token,)


def _shared(piece: pd.DataFrame, known: dict[str, str]) -> pd.DataFrame:
    """Lets equal texts of a piece and of those before it be one object: a token is there once, not in every row."""
    for column in piece.columns:
        if piece[column].dtype == object:
            codes, texts = pd.factorize(piece[column])  # missing ones are -1
            objects = np.array([*(known.setdefault(text, text) for text in texts), np.nan], dtype=object)
            piece[column] = objects[codes]
    return piece


def _ends(cells: pd.Series) -> np.ndarray:
    """Returns where each cell but the last ends in the concatenation of all cells."""
    return np.cumsum([len(cell) for cell in cells])[:-1]
