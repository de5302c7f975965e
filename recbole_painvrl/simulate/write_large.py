"""Writes a large data set as a data folder, block by block, whole or not at all."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import yaml
from tqdm import tqdm

from recbole_painvrl.convert.write import new_folder
from recbole_painvrl.errors import UserError
from recbole_painvrl.simulate.large import SETS, Block, Large
from recbole_painvrl.simulate.write import KINDS

COLUMNS = ("user_id:token", "item_id:token", "session_id:token", "environment:token")


def write_large(data: Large, name: str, target: Path, overwrite: bool, show_progress: bool) -> dict[str, int]:
    """Writes ``data``, of the scale ``name``, into the folder ``target`` and returns the interactions of each set.

    Raises:
        UserError: ``target`` exists and ``overwrite`` is false, or the disk refuses.
    """
    numbers = data.scale.items * sum(data.scale.widths.values())
    try:
        with (
            new_folder(target, overwrite) as folder,
            tqdm(total=data.n_choices + numbers, ncols=100, unit_scale=True, disable=not show_progress) as bar,
        ):
            prefix = target.name
            bar.set_description("interactions")
            counts = _write_choices(data, folder, prefix, bar)
            for modality in data.scale.widths:
                bar.set_description(modality)
                _write_features(data, modality, folder / f"{prefix}.{modality}.npy", bar)
            _write_rest(data, name, folder, prefix)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error
    return counts


def _write_choices(data: Large, folder: Path, prefix: str, bar: tqdm) -> dict[str, int]:
    """Writes the four sets side by side."""
    counts = dict.fromkeys(SETS, 0)
    with ExitStack() as stack:
        files = [_opened(stack, folder / f"{prefix}.{split}.inter") for split in SETS]
        for block in data.choices():
            for position, split in enumerate(SETS):
                counts[split] += _append(files[position], block, block.sets == position, len(data.scale.gamma))
            bar.update(len(block.users))
    return counts


def _opened(stack: ExitStack, path: Path) -> IO[str]:
    file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
    file.write("\t".join(COLUMNS) + "\n")
    return file


def _append(file: IO[str], block: Block, rows: np.ndarray, n_known: int) -> int:
    """Adds the rows of one set; a session is one user's stay in one environment."""
    users, environments = block.users[rows], block.environments[rows]
    columns = (users, block.items[rows], users * (n_known + 1) + environments, environments)
    table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    table.to_csv(file, sep="\t", header=False, index=False, lineterminator="\n")
    return len(table)


def _write_features(data: Large, modality: str, path: Path, bar: tqdm) -> None:
    """Writes one modality as ``.npy`` with its ``.ids``."""
    dtype = np.dtype(np.float16 if data.scale.half else np.float32)
    shape = data.scale.items, data.scale.widths[modality]
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in data.features(modality):
            file.write(block.astype(dtype, copy=False).tobytes())
            bar.update(block.size)
    path.with_suffix(".ids").write_text("".join(f"{item}\n" for item in range(shape[0])), encoding="utf-8")


def _write_rest(data: Large, name: str, folder: Path, prefix: str) -> None:
    """Writes items, truth, settings and what the data set was made by."""
    with (folder / f"{prefix}.item").open("w", encoding="utf-8", newline="") as file:
        if data.scale.words:
            file.write("item_id:token\twords:token_seq\n")
            file.writelines(f"{item}\t{title}\n" for item, title in enumerate(data.titles()))
        else:
            file.write("item_id:token\n")
            file.writelines(f"{item}\n" for item in range(data.scale.items))
    rows = [(name_, column, KINDS[int(kind)]) for name_, of in data.truth.items() for column, kind in enumerate(of)]
    pd.DataFrame(rows, columns=["modality", "dimension", "truth"]).to_csv(folder / "truth.csv", index=False)
    gammas = [(split, e, gamma) for split in SETS[:3] for e, gamma in enumerate(data.scale.gamma)]
    gammas.append((SETS[3], len(data.scale.gamma), data.scale.gamma_ood))
    pd.DataFrame(gammas, columns=["set", "environment", "gamma"]).to_csv(folder / "gammas.csv", index=False)
    (folder / f"{prefix}.yaml").write_text(settings_text(data), encoding="utf-8")
    made_by = {"scale": name, "seed": data.seed, "constants": asdict(data.scale)}
    (folder / "recipe.json").write_text(json.dumps(made_by, indent=2) + "\n", encoding="utf-8")


def settings_text(data: Large) -> str:
    """Returns the RecBole settings of the data set as YAML text; sessions are written, but not loaded."""
    modalities: dict[str, object] = {modality: {"source": "npy"} for modality in data.scale.widths}
    if data.scale.words:
        modalities["words"] = {"source": "words", "field": "words", "dimension": 128}
    settings = {
        "field_separator": "\t",
        "seq_separator": " ",
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "load_col": {"inter": ["user_id", "item_id", "environment"], "item": ["item_id"]},
        "benchmark_filename": list(SETS),
        "modalities": modalities,
    }
    return yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=120)
