"""Small data sets that tests write, with answers that are known beforehand."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

FLOATS = ("rating", "timestamp")


def _write_table(path: Path, frame: pd.DataFrame, types: dict[str, str] | None) -> Path:
    """Writes an atomic file; columns are tokens, but for ``rating``, ``timestamp`` and those in ``types``."""
    known = dict.fromkeys(FLOATS, "float") | (types or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    header = [f"{column}:{known.get(column, 'token')}" for column in frame.columns]
    lines = ["\t".join(header)] + ["\t".join(map(str, row)) for row in frame.itertuples(index=False)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_interactions(folder: Path, name: str, frame: pd.DataFrame, part: str | None = None) -> Path:
    """Writes ``<folder>/<name>/<name>[.<part>].inter``; the columns ``user_id`` and ``item_id`` must be there."""
    suffix = f"{part}.inter" if part else "inter"
    return _write_table(Path(folder) / name / f"{name}.{suffix}", frame, None)


def write_items(folder: Path, name: str, frame: pd.DataFrame, types: dict[str, str] | None = None) -> Path:
    """Writes ``<folder>/<name>/<name>.item``; ``types`` gives the columns that are not of the type token."""
    return _write_table(Path(folder) / name / f"{name}.item", frame, types)


def write_features(folder: Path, name: str, modality: str, tokens: list[str], values: np.ndarray) -> Path:
    """Writes a modality as ``.npy`` with its ``.ids``; returns the path of the former."""
    path = Path(folder) / name / f"{name}.{modality}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    path.with_suffix(".ids").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


def write_atomic_features(
    folder: Path, name: str, modality: str, tokens: list[str], values: np.ndarray, header: str | None = None
) -> Path:
    """Writes a modality as an atomic text file."""
    path = Path(folder) / name / f"{name}.{modality}"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (f"{token}\t{' '.join(f'{x:.6g}' for x in row)}\n" for token, row in zip(tokens, values, strict=True))
    with path.open("w", encoding="utf-8") as file:
        file.write(header or f"item_id:token\t{modality}:float_seq")
        file.write("\n")
        file.writelines(rows)
    return path


def forbid(monkeypatch: pytest.MonkeyPatch, ending: str, call: str = "open") -> None:
    """Makes a method of ``Path`` fail as without a permission, which root always has, for paths that end so."""
    permitted: Callable[..., Any] = getattr(Path, call)

    def refuse(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if str(path).endswith(ending):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return permitted(path, *arguments, **keywords)

    monkeypatch.setattr(Path, call, refuse)


@dataclass(frozen=True)
class Board:
    """What is known of a checkerboard: tables of tokens, and the tokens of the cold items."""

    folder: Path
    name: str
    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame
    test_ood: pd.DataFrame
    cold: tuple[str, str]

    def config(self, **more: Any) -> dict[str, Any]:
        """Returns the configuration that loads all of it; ``more`` overrides."""
        return {
            "data_path": str(self.folder),
            "benchmark_filename": ["train", "valid", "test", "test_ood"],
            "load_col": {"inter": ["user_id", "item_id", "session_id", "environment"], "item": ["item_id"]},
            "show_progress": False,
            **more,
        }


def write_checkerboard(folder: Path, name: str = "board", seed: int = 0, noise: float = 0.1) -> Board:
    """Writes 40 users and 26 items: users ``u0 u1 ...`` like the items ``i0 i1 ...`` of their own parity, all of them.

    Each user's 12 liked items are dealt out: 8 of the items i0 to i15, whose spurious features agree with their parity,
    and 4 of the items i16 to i23, whose spurious features say the opposite. One of the former is withheld for ``test``
    (the diagonal) and one for ``valid``, one of the latter for ``test_ood``, the other 9 are the training set. So the
    best items that a user has not seen are the test item, the OOD item, and the one cold item of the user's parity: i24
    or i25, which no interaction has, only ``.item`` and the features (their spurious ones lie as well).

    Environment ``a`` (a user's first session) holds only agreeing items; environment ``b`` (the second session) holds
    the contrary ones and two agreeing ones. The modality ``invariant`` tells the parity of every item, the modality
    ``spurious`` that of i0 to i15. Both have 4 dimensions, of which the first tells and the others are noise, and
    shuffled rows.

    Args:
        folder: The data path; files go to ``<folder>/<name>``.
        name: Name of the data set.
        seed: Seed of the noise and of the order of the feature rows.
        noise: Standard deviation of the noise; the telling dimension is -1 or 1.

    Returns:
        What is known of it.
    """
    folder = Path(folder)
    parts = _deal(n_users=40, n_agreeing=16, n_contrary=8)
    for part, frame in parts.items():
        write_interactions(folder, name, frame, part)
    items = np.arange(26)
    tokens = [f"i{item}" for item in items]
    parity = np.where(items % 2 == 0, 1.0, -1.0)
    write_items(folder, name, pd.DataFrame({"item_id": tokens, "parity": np.where(parity > 0, "even", "odd")}))
    random = np.random.default_rng(seed)
    for modality, telling in {"invariant": parity, "spurious": np.where(items < 16, parity, -parity)}.items():
        values = random.normal(0, noise, (len(items), 4))
        values[:, 0] += telling
        order = random.permutation(len(items))
        write_features(folder, name, modality, [tokens[i] for i in order], values[order].astype(np.float32))
    return Board(folder, name, **parts, cold=("i24", "i25"))


def _deal(n_users: int, n_agreeing: int, n_contrary: int) -> dict[str, pd.DataFrame]:
    """Deals each user's liked items out to the four parts."""
    rows: dict[str, list[tuple[str, str, str, str]]] = {"train": [], "valid": [], "test": [], "test_ood": []}
    for user in range(n_users):
        agreeing = [(user + 2 * k) % n_agreeing for k in range(n_agreeing // 2)]
        contrary = [n_agreeing + (user + 2 * k) % n_contrary for k in range(n_contrary // 2)]
        dealt = {"test": agreeing[:1], "valid": agreeing[1:2], "test_ood": contrary[:1]}
        for part, liked in dealt.items():
            environment = "ood" if part == "test_ood" else "a"
            rows[part] += [(f"u{user}", f"i{item}", f"u{user}-{part}", environment) for item in liked]
        rows["train"] += [(f"u{user}", f"i{item}", f"u{user}-a", "a") for item in agreeing[4:]]
        rows["train"] += [(f"u{user}", f"i{item}", f"u{user}-b", "b") for item in agreeing[2:4] + contrary[1:]]
    columns = ["user_id", "item_id", "session_id", "environment"]
    return {part: pd.DataFrame(dealt, columns=columns) for part, dealt in rows.items()}
