"""From names to classes, and from a configuration to data: RecBole-GNN's names, RecBole's classes repaired."""

from __future__ import annotations

import copy
import functools
import importlib
import importlib.util
import pkgutil
from logging import getLogger
from typing import Any

import numpy as np
from recbole.data.dataloader import AbstractDataLoader, FullSortEvalDataLoader
from recbole.data.dataset import Dataset
from recbole.data.utils import create_samplers, get_dataloader
from recbole.sampler import KGSampler, Sampler
from recbole.utils import EvaluatorType, ModelType

from recbole_painvrl.compat import UNUSABLE, DatasetRepairs, PretrainRepairs, repaired_model
from recbole_painvrl.data.full_sort import FullSortLoader, KnownPairs, ranks_all_items
from recbole_painvrl.errors import UserError, nearest

VALIDATION = "valid_"  # how names of further validation sets start
_OUR_MODELS = "recbole_painvrl.model.general_recommender"
_RECBOLE_MODELS = tuple(
    f"recbole.model.{kind}_recommender" for kind in ("general", "context_aware", "sequential", "knowledge_aware")
)


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


def data_preparation(
    config: Any, dataset: Dataset
) -> tuple[AbstractDataLoader, AbstractDataLoader, AbstractDataLoader]:
    """Splits a data set and returns the loaders of training, validation and the first test set.

    The validation and test loaders are RecBole's. So is the training loader, unless the model class says
    ``fast_loader = True``.

    Raises:
        UserError: If a part of the split is empty.
    """
    parts, further = _build(dataset)
    if further:  # a data set class of ours has noted them itself
        dataset.further_tests = further
    for phase, part in zip(("training", "validation", "test"), parts, strict=True):
        _check_part(config, phase, part)
    _check_topk(config, dataset)
    dataset.first_test = parts[2]  # for further_test_loaders
    if ranks_all_items(config):
        return (
            _train_loader(config, dataset, parts[0], None),
            FullSortLoader(config, parts[1], KnownPairs(parts[:2], "valid")),
            FullSortLoader(config, parts[2], KnownPairs(parts, "test")),
        )
    train_sampler, valid_sampler, test_sampler = _samplers(config, dataset, parts)
    train_data = _train_loader(config, dataset, parts[0], train_sampler)
    valid_data = get_dataloader(config, "valid")(config, parts[1], valid_sampler, shuffle=False)
    test_data = get_dataloader(config, "test")(config, parts[2], test_sampler, shuffle=False)
    return train_data, valid_data, test_data


def _samplers(config: Any, dataset: Dataset, parts: list[Dataset]) -> tuple[Any, Any, Any]:
    """Returns RecBole's samplers, which refuse a user that has every item."""
    try:
        return create_samplers(config, dataset, parts)
    except ValueError as error:
        n_items = dataset.item_num - 1
        raise UserError(
            f"dataset '{config['dataset']}': negatives cannot be drawn ({error}); of {n_items} items a user may have "
            f"{n_items - 1}, which user_inter_num_interval: '[0,{n_items})' sees to unless the splits are ready"
        ) from error


def _build(dataset: Dataset) -> tuple[list[Dataset], dict[str, Dataset]]:
    """Returns the first three parts of a data set, and the other benchmark files of RecBole's own classes by name."""
    parts = dataset.build()
    names = (dataset.benchmark_filename_list or [])[3:]
    return parts[:3], dict(zip(names, parts[3:], strict=False))


def _check_part(config: Any, phase: str, part: Dataset) -> None:
    """Refuses an empty part, and a labeled evaluation part without a positive: no metric is defined there."""
    label = config["LABEL_FIELD"]
    if len(part) == 0:
        raise UserError(
            f"dataset '{config['dataset']}': the {phase} part is empty; give every part interactions, by "
            f"eval_args.split (now {config['eval_args']['split']}) or by benchmark_filename"
        )
    if label in part.inter_feat and not bool((part.inter_feat[label] > 0).any()):
        raise UserError(
            f"dataset '{config['dataset']}': the {phase} part has no positive '{label}'; lower threshold or "
            "split otherwise"
        )


def _check_topk(config: Any, dataset: Dataset) -> None:
    n_items = dataset.item_num - 1  # without the padding
    if config["eval_type"] == EvaluatorType.RANKING and max(config["topk"]) > n_items:
        raise UserError(
            f"topk: {max(config['topk'])} is more than the {n_items} items of dataset '{config['dataset']}'"
        )


def _train_loader(config: Any, dataset: Dataset, part: Dataset, sampler: Any) -> AbstractDataLoader:
    if getattr(config.model_class, "fast_loader", False):
        from recbole_painvrl.data.dataloader import TrainLoader

        n_negatives = getattr(config.model_class, "loader_negatives", None)
        return TrainLoader(config, part, n_negatives and n_negatives(config))
    loader = get_dataloader(config, "train")
    if config["MODEL_TYPE"] != ModelType.KNOWLEDGE:
        return loader(config, part, sampler, shuffle=config["shuffle"])
    negatives = config["train_neg_sample_args"]
    kg_sampler = KGSampler(dataset, negatives["distribution"], negatives["alpha"])
    return loader(config, part, sampler, kg_sampler, shuffle=True)


def further_test_loaders(
    config: Any, dataset: Dataset, train_data: AbstractDataLoader, valid_data: AbstractDataLoader
) -> dict[str, FullSortEvalDataLoader]:
    """Returns a loader for each test set beyond the first, and for the first one's warm and cold items apart.

    Each masks what its users have in training and validation, and nothing else. RecBole's sampler accumulates its
    phases, so a fourth one would hide the first test set's items from the ranking of the second and raise its scores.

    Args:
        config: The configuration.
        dataset: The data set after :func:`data_preparation`.
        train_data: The training loader, which says what items are warm.
        valid_data: The validation loader, whose sampler knows the positives of training and validation.

    Returns:
        Loaders by name: the data set's ``further_tests``, then ``test:warm`` and ``test:cold`` if the first test set
        has both kinds of items.
    """
    from recbole_painvrl.data.dataset import split_warm_cold

    parts = {name: part for name, part in _further_parts(dataset).items() if not name.startswith(VALIDATION)}
    for kind, part in split_warm_cold(train_data._dataset, dataset.first_test).items():
        parts[f"test:{kind}"] = part
    return _further_loaders(config, dataset, train_data, valid_data, parts)


def further_validation_loaders(
    config: Any, dataset: Dataset, train_data: AbstractDataLoader, valid_data: AbstractDataLoader
) -> dict[str, FullSortEvalDataLoader]:
    """Returns a loader for each further set whose name starts with ``valid_``; it masks as a further test set does.

    Such a set is a validation set of its own, for a shift: it is evaluated at each validation and never tested.
    """
    parts = {name: part for name, part in _further_parts(dataset).items() if name.startswith(VALIDATION)}
    return _further_loaders(config, dataset, train_data, valid_data, parts)


def _further_parts(dataset: Dataset) -> dict[str, Dataset]:
    return dict(getattr(dataset, "further_tests", {}))


def _further_loaders(
    config: Any,
    dataset: Dataset,
    train_data: AbstractDataLoader,
    valid_data: AbstractDataLoader,
    parts: dict[str, Dataset],
) -> dict[str, FullSortEvalDataLoader]:
    from recbole_painvrl.data.splits.candidates import new_items_loader, only_new

    candidates = getattr(dataset, "test_candidates", config["test_candidates"] or {})
    names = list(dict.fromkeys([*_further_parts(dataset), *parts]))
    loaders = {}
    for name, part in parts.items():
        if len(part) == 0:
            getLogger().warning(f"test set '{name}' of '{config['dataset']}' is empty and left out")
            continue
        sampler = _sampler_beyond(valid_data._sampler, part)
        if only_new(candidates, name, names):
            loaders[name] = new_items_loader(config, train_data._dataset, part, sampler)
        elif isinstance(sampler, KnownPairs):
            loaders[name] = FullSortLoader(config, part, sampler)
        else:
            loaders[name] = get_dataloader(config, "test")(config, part, sampler, shuffle=False)
    return loaders


def _sampler_beyond(valid_sampler: Sampler | KnownPairs | None, part: Dataset) -> Sampler | KnownPairs | None:
    """Returns the validation sampler with the positives of ``part`` added to those of training and validation."""
    if valid_sampler is None:
        return None
    if isinstance(valid_sampler, KnownPairs):
        return valid_sampler.beyond(part)
    sampler = copy.copy(valid_sampler)
    sampler.used_ids = valid_sampler.used_ids.copy()
    users, items = (part.inter_feat[field].numpy() for field in (part.uid_field, part.iid_field))
    order = np.argsort(users, kind="stable")
    touched, starts = np.unique(users[order], return_index=True)
    for user, chunk in zip(touched, np.split(items[order], starts[1:]), strict=True):
        sampler.used_ids[user] = sampler.used_ids[user] | set(chunk)
    return sampler
