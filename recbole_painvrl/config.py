"""The configuration: RecBole's, with keys that are checked, values that are never evaluated, and our properties."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import Any

import recbole.config
import torch
import yaml
from recbole.utils import ModelType

from recbole_painvrl import compat, distributed
from recbole_painvrl.config_checks import check_settings, default_valid_metric
from recbole_painvrl.config_keys import (
    PROCESS_KEYS,
    RECBOLE_EXAMPLES,
    RECBOLE_PROPERTIES,
    Loader,
    as_builtin,
    general_keys,
    known_keys,
    parse_text,
    properties_files,
    properties_folder,
    read_layer,
    read_yaml,
    tuned_file,
)
from recbole_painvrl.errors import UserError, nearest, unreadable
from recbole_painvrl.utils import get_model

__all__ = ["Config", "config_hash", "properties_files", "properties_folder"]

compat.apply()  # at import, so that a worker process that only unpickles a Config is mended as well

# Derived by RecBole from other keys or from the machine: not part of what a user says.
_DERIVED = """
    MODEL_TYPE MODEL_INPUT_TYPE eval_type device single_spec valid_neg_sample_args test_neg_sample_args
    valid_metric_bigger verbose config_files
"""
# Where and how to run; the numbers are the same. What the data are is part of the hash by their files' names and sizes.
_PLACES = """
    output_dir data_path checkpoint_dir gpu_id use_gpu state show_progress log_wandb wandb_project loss_decimal_place
    save_dataset save_dataloaders dataset_save_path dataloaders_save_path
"""
_ELSEWHERE = "data_path output_dir checkpoint_dir log_wandb wandb_project tuned_defaults"
_NOT_OF_DATA = frozenset(_ELSEWHERE.split())
_DERIVED_KEYS = PROCESS_KEYS.union(_DERIVED.split())
_PLACE_KEYS = frozenset(_PLACES.split())
# Keys younger than the records in results/records, at the value that changes nothing.
_NEUTRAL = {"new_item_length": 1.0, "tuned_defaults": True}
KNOWLEDGE_GRAPH = (".kg", ".link")  # suffixes; RecBole's wheel has such files beside its ml-100k


class Config(recbole.config.Config):
    """A RecBole configuration of a model of this package or of RecBole.

    Precedence: command line > dict > files (a later file wins) > defaults. The defaults are, a later one wins:
    RecBole's ``overall.yaml``, ours, RecBole's model file, ours, RecBole's data set file, ours, what a search on the
    data set chose for the model (unless ``tuned_defaults`` is False), and ``<dataset>.yaml`` in the data folder.
    RecBole's choices for a model type or data set win over our ``overall.yaml``.

    Args:
        model: A model's name or class; None takes the key ``model``.
        dataset: A data set's name; None takes the key ``dataset``.
        config_file_list: YAML files.
        config_dict: Keys and values; a text is read as YAML where its key is not a text.
        command_line: Keys and texts, as in ``--key=value``. ``sys.argv`` is never read.

    Raises:
        UserError: If a key is unknown or says which of several processes this is, a value is not what its key expects,
            or the model or data set does not exist. The latter keys may be in ``config_dict``, all of them
            (:func:`.distributed.place`).
    """

    parameters: dict[str, list[str]]  # RecBole's categories of keys

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: Sequence[str | Path] | None = None,
        config_dict: Mapping[str, Any] | None = None,
        command_line: Mapping[str, str] | None = None,
    ) -> None:
        self._command_line = dict(command_line or {})
        self._origins: dict[str, str] = {}
        super().__init__(model, dataset, config_file_list, config_dict)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restores a pickled configuration in a process that may not have created one."""
        compat.apply()
        self.__dict__.update(state)

    # ---- what RecBole's constructor calls, in its order

    def compatibility_settings(self) -> None:
        """Puts back numpy's names without touching those that are there."""
        compat.apply()

    def _init_parameters_category(self) -> None:
        super()._init_parameters_category()
        # RecBole appends a data set's keys to these lists, which are its modules': the next Config would differ.
        self.parameters = {category: list(keys) for category, keys in self.parameters.items()}

    def _build_yaml_loader(self) -> type[yaml.SafeLoader]:
        return Loader

    def _load_config_files(self, file_list: Sequence[str | Path] | str | None) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        files = file_list.split() if isinstance(file_list, str) else file_list  # "a.yaml b.yaml" as in RecBole
        for file in files or ():
            content = read_yaml(file)
            self._note(content, f"from {file}")
            settings.update(content)
        return settings

    def _load_variable_config_dict(self, config_dict: Mapping[str, Any] | None) -> dict[str, Any]:
        # a whole place comes from distributed.place(), which tells one of several processes which of them it is
        placed = set(config_dict or {}) >= PROCESS_KEYS
        self._note(config_dict or {}, "from the parameter dictionary", PROCESS_KEYS if placed else frozenset())
        return {key: as_builtin(value, key) for key, value in (config_dict or {}).items()}

    def _load_cmd_line(self) -> dict[str, str]:
        self._note(self._command_line, "from the command line")
        return dict(self._command_line)

    def _note(self, keys: Mapping[str, Any], origin: str, also: frozenset[str] = frozenset()) -> None:
        """Remembers where keys came from; refuses unknown ones, and those of a process but for ``also``."""
        known = known_keys()
        for key in keys:
            if key not in known:
                raise UserError(f"unknown key '{key}' ({origin}).{nearest(key, known)}")
            if key in PROCESS_KEYS and key not in also:
                raise UserError(
                    f"the key '{key}' ({origin}) is set by what starts several processes of a run, in each of them; "
                    "leave it out, and give --nproc=N on the command line (from Python: quick_start.run(nproc=N)) or "
                    "start the command by torchrun"
                )
            self._origins[key] = origin

    def _get_model_and_dataset(self, model: str | type | None, dataset: str | None) -> tuple[str, type, str]:
        model = model if model is not None else self.external_config_dict.get("model")
        dataset = dataset if dataset is not None else self.external_config_dict.get("dataset")
        for key, value, kinds in (("model", model, (str, type)), ("dataset", dataset, (str,))):
            if not isinstance(value, kinds) or not value:
                raise UserError(f"no {key} is named; give --{key}=NAME or set the key {key} in a config file")
        if dataset != Path(dataset).name or dataset in (".", "..") or "\\" in dataset or "\0" in dataset:
            raise UserError(f"dataset: '{dataset}' is no plain name; name the folder above it by --data_path")
        return super()._get_model_and_dataset(get_model(model) if isinstance(model, str) else model, dataset)

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        defaults, folder = self.internal_config_dict, properties_folder()
        stock = read_layer(RECBOLE_PROPERTIES / "overall.yaml")
        overall = read_layer(folder / "overall.yaml")
        defaults.update({key: value for key, value in overall.items() if defaults.get(key) == stock.get(key)})
        defaults.update(read_layer(folder / "model" / f"{model}.yaml"))
        defaults.update(read_layer(folder / "dataset" / f"{dataset}.yaml"))
        if self._tuned_defaults(defaults):
            defaults.update(read_layer(tuned_file(model, dataset)))
        beside_data = Path(self._data_parent(defaults)) / dataset / f"{dataset}.yaml"
        try:
            there = beside_data.is_file()
        except OSError as error:
            raise unreadable(beside_data.parent, error) from error
        if there:
            content = read_yaml(beside_data)
            _check_data_keys(content, beside_data)
            given, self._origins = self._origins, {}
            self._note(content, f"from {beside_data}")
            self._origins = {**self._origins, **given}
            defaults.update(content)

    def _tuned_defaults(self, defaults: Mapping[str, Any]) -> bool:
        key = "tuned_defaults"
        value = self.external_config_dict.get(key, defaults[key])
        return bool(parse_text(value, key, defaults[key], self._origins[key]) if isinstance(value, str) else value)

    def _data_parent(self, defaults: Mapping[str, Any]) -> str:
        return str(self.external_config_dict.get("data_path") or defaults["data_path"])

    def _get_final_config_dict(self) -> dict[str, Any]:
        # Texts are read here and not earlier, because the defaults say which texts are meant to stay texts.
        texts = {**self.variable_config_dict, **self.cmd_config_dict}
        for key, value in texts.items():
            if isinstance(value, str):
                default = self.internal_config_dict.get(key)
                self.external_config_dict[key] = parse_text(value, key, default, self._origins[key])
        others = sorted(set(self.external_config_dict) - set(self.internal_config_dict) - general_keys())
        if others:
            getLogger().warning(f"{self.model} does not read {', '.join(others)}: keys of other models")
        return copy.deepcopy({**self.internal_config_dict, **self.external_config_dict})

    def _set_default_parameters(self) -> None:
        settings = self.final_config_dict
        for key in ("metrics", "topk"):  # RecBole takes one for a list of one, but not everywhere
            settings[key] = settings[key] if isinstance(settings[key], list) else [settings[key]]
        if "valid_metric" not in self._origins:
            settings["valid_metric"] = default_valid_metric(settings)
        check_settings(settings, self.internal_config_dict, self._origins, _own_keys(self.model))
        self._parent = os.path.abspath(settings["data_path"])
        try:
            super()._set_default_parameters()
        except (NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"configuration of {self.model}: {error}") from error
        settings["data_path"] = str(_data_folder(Path(self._parent), self.dataset))

    def _init_device(self) -> None:
        """Chooses the device by ``use_gpu``; CUDA_VISIBLE_DEVICES is written only if the user gave ``gpu_id``.

        RecBole ignores ``use_gpu`` and always writes the variable, which takes away the GPU that Ray gave to a worker.
        """
        settings = self.final_config_dict
        gpu_id = settings["gpu_id"]
        if gpu_id is not None:
            ids = gpu_id if isinstance(gpu_id, list) else [gpu_id]
            settings["gpu_id"] = ",".join(str(part).strip() for part in ids)
            if "gpu_id" in self._origins:
                os.environ["CUDA_VISIBLE_DEVICES"] = settings["gpu_id"]
        on_gpu = settings["use_gpu"] and settings["gpu_id"] != "" and torch.cuda.is_available()
        if "local_rank" in settings:
            self._join_processes(on_gpu)
        else:
            settings.update(local_rank=0, world_size=1, device=torch.device("cuda" if on_gpu else "cpu"))
        settings["single_spec"] = True  # for RecBole each process is alone: what they share is our business

    def _join_processes(self, on_gpu: bool) -> None:
        """Joins the process group, with one GPU a process or none; only the first process speaks."""
        settings = self.final_config_dict
        rank = settings["local_rank"]
        distributed.check_processes(self.model_class, settings["nproc"], on_gpu)
        if on_gpu:
            torch.cuda.set_device(rank)
        distributed.join(settings, on_gpu)
        settings["device"] = torch.device("cuda", rank) if on_gpu else torch.device("cpu")
        if rank + settings["offset"] != 0:
            settings.update(state="critical", show_progress=False, verbose=False, log_wandb=False)

    # ---- what the rest of this package asks for

    def plain(self) -> dict[str, Any]:
        """Returns the complete configuration as builtins; as ``config_dict`` it makes the same configuration again."""
        settings = {key: value for key, value in self.final_config_dict.items() if key not in _DERIVED_KEYS}
        settings["data_path"] = self._parent  # RecBole's data_path has become the data folder itself
        if settings["train_neg_sample_args"]["distribution"] == "none":
            settings["train_neg_sample_args"] = None  # how RecBole wants to be told what it calls "none" afterwards
        return {key: as_builtin(value, key) for key, value in settings.items()}


def _check_data_keys(content: Mapping[str, Any], file: Path) -> None:
    """Refuses keys that say where to write and what to connect to: data may come from anybody."""
    for key in content:
        if key in _NOT_OF_DATA:
            raise UserError(f"{file}: the file of a data set must not set {key}; say it in a file of your own")


def _own_keys(model: str) -> frozenset[str]:
    folder = properties_folder()
    return frozenset({**read_layer(folder / "overall.yaml"), **read_layer(folder / "model" / f"{model}.yaml")})


def _data_folder(parent: Path, dataset: str) -> Path:
    """Returns the folder of a data set; ``ml-100k`` is in RecBole's wheel unless ``parent`` has its own.

    Raises:
        UserError: If there is none. Nothing is downloaded.
    """
    folder = parent / dataset
    if folder.is_dir():
        return folder
    if dataset == "ml-100k":
        return RECBOLE_EXAMPLES / dataset
    there = sorted(path.name for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []
    listed = f"it holds {', '.join(there)}" if there else "it holds none" if parent.is_dir() else "it does not exist"
    raise UserError(
        f"there is no data set '{dataset}' in data_path {parent}: {listed}; ml-100k is always there, others are made "
        f"by `recbole-painvrl convert` or put there as RecBole's atomic files.{nearest(dataset, [*there, 'ml-100k'])}"
    )


def data_files(config: Config) -> dict[str, Path]:
    """Returns the data files that a run of ``config`` may read, by their names in the data folder.

    Files of modalities count under whatever name.
    """
    folder = Path(config["data_path"])
    modalities = config["modalities"] if isinstance(config["modalities"], dict) else {}
    named = (settings.get("file") for settings in modalities.values() if isinstance(settings, dict))
    others = [folder / name for name in named if name]
    others += [file.with_suffix(".ids") for file in others]
    found = sorted({*_named_files(config), *(file for file in others if file.is_file())})
    return {file.relative_to(folder).as_posix(): file for file in found}


def _named_files(config: Config) -> list[Path]:
    """The files that bear the data set's name, without a knowledge graph that the model does not read."""
    unread = () if config["MODEL_TYPE"] == ModelType.KNOWLEDGE else KNOWLEDGE_GRAPH
    found = Path(config["data_path"]).glob(f"{config['dataset']}.*")
    return [path for path in found if path.is_file() and path.suffix not in unread]


def config_hash(config: Config) -> str:
    """Returns 8 hexadecimal digits that are equal if and only if the numbers of a run would be.

    Keys that say where and how to run are left out, and so are keys that a later version has brought, at the value that
    changes nothing: what an earlier version has finished is still found. The data are represented by the names and
    sizes of their files, of which those of a knowledge graph count for models that read them; whether they hold the
    same, ``data.json`` in the run's folder tells.
    """
    plain = config.plain().items()
    settings = {key: value for key, value in plain if key not in _PLACE_KEYS and (key, value) not in _NEUTRAL.items()}
    files = sorted((path.name, path.stat().st_size) for path in _named_files(config))
    text = json.dumps([settings, files], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
