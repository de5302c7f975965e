"""From names to classes, and from a configuration to data: RecBole-GNN's names, RecBole's classes repaired."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
from typing import Any

from recbole.data.dataset import Dataset
from recbole.utils import ModelType

from recbole_painvrl.compat import UNUSABLE, DatasetRepairs, PretrainRepairs, anomaly_detection_kept, repaired_model
from recbole_painvrl.data.preparation import data_preparation
from recbole_painvrl.errors import UserError, nearest

__all__ = ["create_dataset", "data_preparation", "get_model", "get_trainer", "model_names"]

_OUR_MODELS = "recbole_painvrl.model.general_recommender"
_RECBOLE_MODELS = tuple(
    f"recbole.model.{kind}_recommender" for kind in ("general", "context_aware", "sequential", "knowledge_aware")
)


@anomaly_detection_kept()
def get_model(name: str) -> type:
    """Returns the model class called ``name``: ours if there is one, else RecBole's, repaired where it needs it.

    Raises:
        UserError: If no model has that name, or if the one that has it cannot run here.
    """
    if name in UNUSABLE:
        raise UserError(f"model '{name}' cannot run: {UNUSABLE[name]}")
    for package in (_OUR_MODELS, *_RECBOLE_MODELS):
        module_name = f"{package}.{name.lower()}"
        if name.isidentifier() and importlib.util.find_spec(module_name) is not None:
            model_class = getattr(importlib.import_module(module_name), name, None)
            if isinstance(model_class, type):
                return repaired_model(model_class)
    raise UserError(f"there is no model '{name}'.{nearest(name, model_names())}")


@functools.cache
@anomaly_detection_kept()
def model_names() -> tuple[str, ...]:
    """Returns the names of all models as users write them, ours first, without importing any of them.

    The name is spelled as the properties file spells it; a model without such a file is named as its file is.
    """
    from recbole_painvrl.config_keys import properties_files

    spelling = {path.stem.lower(): path.stem for path in properties_files("model")}
    found = (
        module.name
        for package in (_OUR_MODELS, *_RECBOLE_MODELS)
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__)
    )
    return tuple(dict.fromkeys(spelling.get(name, name.capitalize()) for name in found))


def get_trainer(model: Any) -> type:
    """Returns the trainer class of a model class or of a configuration.

    Ours, ``recbole_painvrl.trainer.<Model>Trainer``, if there is one; else RecBole's own trainer of that model, so that
    its training is what RecBole's is, with our records and checkpoints mixed in.
    """
    model_class: Any = model if isinstance(model, type) else model.model_class
    name = f"{model_class.__name__}Trainer"
    ours = _our_trainer(name)
    if ours is None and hasattr(model_class, "parameter_groups"):
        ours = _our_trainer("MultimodalTrainer")
    return ours if ours is not None else _mixed_trainer(_stock_trainer(model_class.type, name))


def _our_trainer(name: str) -> type | None:
    package = importlib.import_module("recbole_painvrl.trainer")
    if hasattr(package, name):
        return getattr(package, name)
    module_name = f"{package.__name__}.{name.removesuffix('Trainer').lower()}_trainer"
    if importlib.util.find_spec(module_name) is None:
        return None
    return getattr(importlib.import_module(module_name), name, None)


def _stock_trainer(model_type: ModelType, name: str) -> type:
    import recbole.trainer

    by_type = {ModelType.KNOWLEDGE: "KGTrainer", ModelType.TRADITIONAL: "TraditionalTrainer"}
    return getattr(recbole.trainer, name, None) or getattr(recbole.trainer, by_type.get(model_type, "Trainer"))


@functools.cache
def _mixed_trainer(stock: type) -> type:
    from recbole.trainer.trainer import PretrainTrainer

    from recbole_painvrl.trainer.run_trainer import RunMixin

    bases = (RunMixin, PretrainRepairs, stock) if issubclass(stock, PretrainTrainer) else (RunMixin, stock)
    return type(stock.__name__, bases, {"__module__": __name__, "__doc__": stock.__doc__})


def create_dataset(config: Any) -> Dataset:
    """Reads the data set of a configuration afresh; pickled caches are neither written nor read.

    Raises:
        UserError: ``ood_split`` is set, but the model has a data set class of its own, which splits in its own way.
    """
    dataset_class = _dataset_class(config.model_class, config["MODEL_TYPE"])
    if config["ood_split"] and not hasattr(dataset_class, "ood_split"):
        raise UserError(
            f"ood_split: {config['model']} splits its data in its own way; write the sets by `recbole-painvrl split` "
            "and train on that data set"
        )
    return dataset_class(config)


def _dataset_class(model_class: type, model_type: ModelType) -> type:
    import recbole.data.dataset as stock

    by_type = {ModelType.SEQUENTIAL: "SequentialDataset", ModelType.KNOWLEDGE: "KnowledgeBasedDataset"}
    stock_class = getattr(stock, f"{model_class.__name__}Dataset", None) or getattr(
        stock, by_type.get(model_type, "Dataset")
    )
    if stock_class is not Dataset:
        return _repaired_dataset(stock_class)
    from recbole_painvrl.data.dataset import GeneralDataset, MultimodalDataset

    return MultimodalDataset if getattr(model_class, "uses_modalities", False) else GeneralDataset


@functools.cache
def _repaired_dataset(stock_class: type) -> type:
    return type(stock_class.__name__, (DatasetRepairs, stock_class), {"__module__": __name__})
