"""``recbole-painvrl split DATASET --kind=KIND --name NAME``: a data folder with an out-of-distribution test set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from recbole.utils import init_seed
from recbole.utils.argument_list import dataset_arguments

from recbole_painvrl.config import Config
from recbole_painvrl.config_keys import RECBOLE_PROPERTIES, Loader, load_yaml, read_yaml
from recbole_painvrl.convert.modalities import PLAIN
from recbole_painvrl.convert.write import new_folder
from recbole_painvrl.data.settings import check_inside
from recbole_painvrl.data.splits.applied import HELD_SETS, AppliedSplit
from recbole_painvrl.data.splits.save import write_sets
from recbole_painvrl.data.splits.settings import COMMON, KINDS
from recbole_painvrl.data.splits.statistics import as_text
from recbole_painvrl.data.splits.table import SETS, TEST_OOD
from recbole_painvrl.errors import UserError, unreadable
from recbole_painvrl.quick_start import configure
from recbole_painvrl.randomness import generators_kept
from recbole_painvrl.utils import create_dataset

# Filters have done their work once the sets are written; the rest of a data set's keys holds for the new folder too.
_DONE = """
    rm_dup_inter val_interval filter_inter_by_user_or_item user_inter_num_interval item_inter_num_interval
    benchmark_filename
"""
_FORMAT = ("field_separator", "seq_separator", "USER_ID_FIELD", "ITEM_ID_FIELD")


def split_dataset(
    dataset: str, name: str, settings: Mapping[str, Any], keys: Mapping[str, str], overwrite: bool = False
) -> tuple[Path, AppliedSplit]:
    """Writes the data set ``name``, which is ``dataset`` with an out-of-distribution test set, beside it.

    The interactions are split as a run with the same keys and ``ood_split`` would split them; benchmark files after the
    third stay as they are. All other files are copied, feature matrices linked where that is possible.

    Args:
        dataset: The data set to split.
        name: Name of the new one.
        settings: Value of the key ``ood_split``.
        keys: Keys and texts of the configuration, such as ``data_path``, ``seed`` and ``eval_args``.
        overwrite: Whether to replace a data set of this name.

    Returns:
        The new folder and the split.

    Raises:
        UserError: The data set, a key or the place is wrong.
    """
    config = configure("BPR", dataset, config_dict={"ood_split": dict(settings)}, command_line=keys)
    target = Path(config.plain()["data_path"]) / name
    _check_place(target, name, dataset, overwrite)
    further = _further_sets(config)
    with generators_kept():
        split = _build(config)
    try:
        with new_folder(target, overwrite) as folder:
            write_sets(split, folder, name)
            _take_files(split.source.files.folder, dataset, folder, name, further)
            _take_features(split.source.files.folder, folder, config["modalities"])
            (folder / f"{name}.yaml").write_text(_settings_text(config, split, further), encoding="utf-8")
    except OSError as error:
        if isinstance(error, PermissionError) and Path(str(error.filename)).is_relative_to(split.source.files.folder):
            raise unreadable(error.filename, error) from error
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target, split


def _check_place(target: Path, name: str, dataset: str, overwrite: bool) -> None:
    if not PLAIN.fullmatch(name):
        raise UserError(f"--name '{name}' is no plain name; use letters, digits, '_', '-' and '.', a letter first")
    if name == dataset:
        raise UserError(f"--name '{name}' is the data set that is split; choose another name")
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; choose another --name or say --overwrite")


def _build(config: Config) -> AppliedSplit:
    """Splits in the order and from the seed of a run."""
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    dataset.build()
    for part in COMMON["sets"]:
        if part not in dataset.ood_split.statistics:
            raise UserError(f"ood_split: no interaction is left for {part}; hold out less, or give sets without {part}")
    split: AppliedSplit = dataset.ood_split
    return split


def _further_sets(config: Config) -> list[str]:
    """Returns the benchmark files after the third, which no split touches."""
    named = config["benchmark_filename"]
    further = list(named[3:]) if isinstance(named, list) else []
    for part in SETS[:TEST_OOD]:
        if part in further:
            what = f"the further set '{part}' would bear the name of one of the first three in the new folder"
            raise UserError(f"benchmark_filename: {what}; rename its file")
    return further


def _take_files(source: Path, dataset: str, folder: Path, name: str, further: list[str]) -> None:
    """Takes over every file of the source but settings and the interactions that are split, under the new name."""
    kept = {f"{dataset}.{part}.inter" for part in further}
    left = {f"{dataset}.yaml", "split.json"}  # the new folder has its own
    files = [path for path in sorted(source.iterdir()) if path.is_file() and not path.name.startswith(".")]
    for path in files:
        if path.name in left or (path.suffix == ".inter" and path.name not in kept):
            continue
        if path.name.startswith(f"{dataset}."):
            _take(path, folder / f"{name}{path.name[len(dataset) :]}")
        elif path.name.startswith(f"{name}."):
            raise UserError(f"{path}: the new folder would take it for a file of its own; choose another --name")
        else:
            _take(path, folder / path.name)


def _take_features(source: Path, folder: Path, modalities: Any) -> None:
    """Takes over the files that ``modalities`` names in full, which keep their names, from subfolders too."""
    for modality, given in modalities.items() if isinstance(modalities, dict) else ():
        file = given.get("file") if isinstance(given, dict) else None
        if not isinstance(file, str) or not Path(file).name:
            continue
        check_inside(modality, file)
        for part in (Path(file), Path(file).with_suffix(".ids")):
            if (source / part).is_file() and not (folder / part).exists():
                (folder / part).parent.mkdir(parents=True, exist_ok=True)
                _take(source / part, folder / part)


def _take(path: Path, target: Path) -> None:
    """Links a matrix, which may be large, where the disk can; copies what people edit by hand."""
    try:
        if path.suffix == ".npy":
            os.link(path.resolve(), target)
            return
    except OSError:
        pass  # another disk, or one without links
    shutil.copyfile(path, target)


def _settings_text(config: Config, split: AppliedSplit, further: list[str]) -> str:
    """Returns the settings of the new data set as YAML text."""
    plain = config.plain()
    stock = read_yaml(RECBOLE_PROPERTIES / "dataset" / "sample.yaml")  # what every data set starts from
    names = {*dataset_arguments, "modalities", "encoding"} - {*_DONE.split()}
    settings = {key: plain[key] for key in _FORMAT}
    settings |= {key: plain[key] for key in plain if key in names and plain[key] != stock.get(key)}
    held = [part for part in HELD_SETS if part in split.statistics]
    settings["benchmark_filename"] = [*SETS[:TEST_OOD], *further, *held]
    candidates = dict(plain["test_candidates"] or {})
    if split.settings.get("candidates") == "new":
        candidates |= dict.fromkeys(held, "new")
    if candidates:
        settings["test_candidates"] = candidates
    text: str = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=120)
    return text


def parse_settings(kind: str, keys: dict[str, str], seed: int | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Parts the options of the command into the settings of the split and the keys of the configuration.

    Args:
        kind: The kind.
        keys: Raw options by name.
        seed: Seed of the split, None for the default; the option ``seed`` is the configuration's.

    Returns:
        Value of the key ``ood_split``, and the other options.

    Raises:
        UserError: An option of another kind is given, or one is no YAML.
    """
    own = {name for known in KINDS.values() for name in known} | {*COMMON}
    own -= {"seed", "modalities"}
    settings: dict[str, Any] = {"kind": kind} | ({} if seed is None else {"seed": seed})
    for name in sorted(own & set(keys)):
        try:
            settings[name] = _values(keys[name]) if name == "values" else load_yaml(keys[name])
        except yaml.YAMLError:
            raise UserError(f"--{name}: cannot read '{keys[name]}'") from None
    return settings, {name: value for name, value in keys.items() if name not in own}


def _values(text: str) -> str | list[str] | None:
    """Returns the labels to hold out as they are written, which YAML's types would change: 010 to 8, NO to false."""
    if text.strip() in ("", "~"):
        return None
    node = yaml.compose(text, Loader=Loader)
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(part, yaml.ScalarNode) for part in parts):
        raise UserError(f"--values: expected a label or a list of labels, found '{text}'")
    labels = [part.value for part in parts]
    return labels if isinstance(node, yaml.SequenceNode) else labels[0]


def run(dataset: str, kind: str, name: str, seed: int | None, overwrite: bool, keys: dict[str, str]) -> None:
    """Splits as the command line says and prints the counts."""
    settings, others = parse_settings(kind, keys, seed)
    folder, split = split_dataset(dataset, name, settings, others, overwrite)
    print(f"{folder}: {dataset} split by {kind}")
    print(as_text(split.statistics, split.dropped))
