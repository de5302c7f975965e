"""RecBole's quick start for this package: the same functions, arguments and keys, and run folders besides.

``recbole.quick_start`` is never imported: it imports Ray, which breaks on current setuptools and numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from recbole_painvrl import checkpoint
from recbole_painvrl.config import Config, config_hash
from recbole_painvrl.errors import UserError
from recbole_painvrl.experiment import execute, prepare, run_folder
from recbole_painvrl.randomness import generators_kept
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.trainer.state import check_tokens, load_model

DEFAULT_MODEL = "PaInvRL"
DEFAULT_DATASET = "ml-100k"


def run_recbole_painvrl(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
) -> dict[str, Any]:
    """Trains and tests one model on one data set, as ``recbole.quick_start.run_recbole`` does.

    Args:
        model: Name of a model of this package or of RecBole; the configuration's, or PaInvRL, if None.
        dataset: Name of a data set; the configuration's, or ml-100k, if None.
        config_file_list: YAML files; later ones win.
        config_dict: Keys that win over the files.
        saved: Whether to keep the models.

    Returns:
        RecBole's keys ``best_valid_score valid_score_bigger best_valid_result test_result``, ``test_results`` for all
        test sets, and the rest of ``result.json``. A run that is already done is not repeated.

    Raises:
        UserError: A key, a value, a file or the data are at fault.
    """
    return execute(configure(model, dataset, config_file_list, config_dict), saved)


def run(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    saved: bool = True,
    nproc: int = 1,
    world_size: int = -1,
    ip: str = "localhost",
    port: str | None = None,
    group_offset: int = 0,
) -> dict[str, Any]:
    """Trains and tests one model in ``nproc`` processes, as ``recbole.quick_start.run`` does; arguments are RecBole's.

    Returns:
        As :func:`run_recbole_painvrl`, on the first machine; on the others {}.

    Raises:
        UserError: As :func:`run_recbole_painvrl`, or the model cannot be trained so, or a process has ended early.
    """
    from recbole_painvrl.launch import Layout, launch

    layout = Layout(nproc, world_size, group_offset, ip, port)
    layout.check()
    if layout.size == 1:
        return run_recbole_painvrl(model, dataset, config_file_list, config_dict, saved)
    config = configure(model, dataset, config_file_list, config_dict)
    status = launch(config, layout, saved)
    if status:
        raise UserError(f"the run ended with status {status}; its first process has said why on standard error")
    return {} if group_offset else RunFolder(run_folder(config)).read_json("result.json")


def objective_function(
    config_dict: Mapping[str, Any] | None = None,
    config_file_list: Sequence[str] | None = None,
    saved: bool = True,
) -> dict[str, Any]:
    """Runs one trial of a hyper-parameter search; arguments and keys are RecBole's.

    Returns:
        As :func:`run_recbole_painvrl`. A search has to choose by ``best_valid_score``, never by a test result.
    """
    return execute(configure(None, None, config_file_list, config_dict), saved, verbose=False)


def configure(
    model: str | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    command_line: Mapping[str, str] | None = None,
) -> Config:
    """Returns the configuration; PaInvRL and ml-100k stand in where nothing names a model or a data set."""
    named = {**_from_files(config_file_list), **(config_dict or {}), **(command_line or {})}
    return Config(
        model or named.get("model") or DEFAULT_MODEL,
        dataset or named.get("dataset") or DEFAULT_DATASET,
        list(config_file_list or []) or None,
        dict(config_dict or {}) or None,
        command_line=dict(command_line or {}),
    )


def _from_files(files: Sequence[str] | None) -> dict[str, Any]:
    """Returns the model and the data set that configuration files name; what is wrong in a file, ``Config`` says."""
    named: dict[str, Any] = {}
    for file in files or []:
        try:
            content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(content, dict):
            named.update({key: content[key] for key in ("model", "dataset") if key in content})
    return named


def resume(folder: str | Path, command_line: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Continues the interrupted run in ``folder`` as if it had never stopped.

    Args:
        folder: The run's folder.
        command_line: Keys to change, such as ``show_progress``; only those that cannot change a number.

    Raises:
        UserError: There is no run, or a key would change what it computes.
    """
    return execute(to_continue(folder, command_line), continued=Path(folder))


def to_continue(
    folder: str | Path, command_line: Mapping[str, str] | None = None, place: Mapping[str, Any] | None = None
) -> Config:
    """Returns the configuration of the interrupted run in ``folder``; arguments and errors are those of :func:`resume`.

    ``place`` says which of several processes this one is, in RecBole's keys.

    Raises:
        UserError: There is no run to continue, a file of it is damaged, or an argument would change its numbers.
    """
    run = RunFolder(folder)
    if not run.started:
        raise UserError(f"{folder}: no run to continue, config.yaml is missing; expected an interrupted run's folder")
    starts = run.records("start")
    config = configure(config_dict={**run.settings(), **(place or {})}, command_line=command_line)
    for start in starts:
        if start.get("config_hash") != config_hash(config):
            cause = f"by {', '.join(command_line)}" if command_line else "by its data files, which are others now"
            raise UserError(f"{folder}: the run's numbers would be changed {cause}; it can only be continued as it was")
    return config


def load_data_and_model(model_file: str | Path) -> tuple[Any, ...]:
    """Loads a trained model with its data.

    Args:
        model_file: A model file, or a run's folder (its best model).

    Returns:
        RecBole's six: configuration, model, data set and the loaders of training, validation and test.

    Raises:
        UserError: There is no model, the file is not one of ours, or the data have changed since.
    """
    file = find_model(model_file)
    state = checkpoint.load(file, mapped=True)
    config = configure(config_dict=state["config"])
    with generators_kept():
        data = prepare(config)
    check_tokens(state.get("tokens"), data.dataset, file)
    load_model(data.model, state, config["device"])
    data.model.eval()
    return config, data.model, data.dataset, data.train, data.valid, data.test


def find_model(path: str | Path) -> Path:
    """Returns the model file of a run's folder, or ``path`` itself if it is a file.

    Raises:
        UserError: Neither is there.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    run = RunFolder(path)
    found = next((file for file in (run.best_model, run.last_model) if file.exists()), None)
    if found is None:
        raise UserError(f"{path}: no model is stored here; expected a run's folder with model-best.pth")
    return found
