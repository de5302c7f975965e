"""From a data set to the loaders of its parts: training, validation and every test set."""

from __future__ import annotations

import copy
from logging import getLogger
from typing import Any

import numpy as np
from recbole.data.dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset
from recbole.data.utils import create_samplers, get_dataloader
from recbole.sampler import KGSampler, Sampler
from recbole.utils import EvaluatorType, ModelType

from recbole_painvrl.data.dataloader import TrainLoader
from recbole_painvrl.data.dataset import split_warm_cold
from recbole_painvrl.data.drawn_candidates import DrawnCandidatesLoader, no_negatives
from recbole_painvrl.data.full_sort import FullSortLoader, KnownPairs
from recbole_painvrl.data.splits.candidates import new_items_loader, only_new
from recbole_painvrl.errors import UserError

VALIDATION = "valid_"  # how names of further validation sets start


def data_preparation(
    config: Any, dataset: Dataset
) -> tuple[AbstractDataLoader, AbstractDataLoader, AbstractDataLoader]:
    """Splits a data set and returns the loaders of training, validation and the first test set.

    Those of a model class that says ``fast_loader = True`` are ours, except for evaluation on popular candidates or by
    labels; all others are RecBole's.

    Raises:
        UserError: If a part of the split is empty.
    """
    _check_labels(config, dataset)
    parts, further = _build(dataset)
    if further:  # a data set class of ours has noted them itself
        dataset.further_tests = further
    for phase, part in zip(("training", "validation", "test"), parts, strict=True):
        _check_part(config, phase, part)
    _check_topk(config, dataset)
    dataset.first_test = parts[2]  # for further_test_loaders
    if _has_fast_evaluation(config):
        return (
            _train_loader(config, dataset, parts[0], None),
            _fast_loader(config, parts[1], KnownPairs(parts[:2], "valid"), "valid"),
            _fast_loader(config, parts[2], KnownPairs(parts, "test"), "test"),
        )
    train_sampler, valid_sampler, test_sampler = _samplers(config, dataset, parts)
    train_data = _train_loader(config, dataset, parts[0], train_sampler)
    valid_data = get_dataloader(config, "valid")(config, parts[1], valid_sampler, shuffle=False)
    test_data = get_dataloader(config, "test")(config, parts[2], test_sampler, shuffle=False)
    return train_data, valid_data, test_data


def _check_labels(config: Any, dataset: Dataset) -> None:
    """Makes sure that there are labels where an evaluation by labels is asked for."""
    field = config["LABEL_FIELD"]
    drawn = [config[f"{phase}_neg_sample_args"]["distribution"] for phase in ("valid", "test")]
    if "none" in drawn and field not in dataset.inter_feat:
        raise UserError(
            f"eval_args.mode: labeled needs a column '{field}' (LABEL_FIELD) in the interactions of "
            f"{config['dataset']}, but there are only {', '.join(dataset.inter_feat.columns)}; name it in load_col, "
            "make it by threshold, or use full"
        )


def _has_fast_evaluation(config: Any) -> bool:
    """Says whether our loaders can evaluate: a model with our loader for training, uniform candidates or all items."""
    drawn = [config[f"{phase}_neg_sample_args"]["distribution"] for phase in ("valid", "test")]
    return bool(getattr(config.model_class, "fast_loader", False)) and set(drawn) == {"uniform"}


def _fast_loader(config: Any, part: Dataset, known: KnownPairs, name: str) -> AbstractDataLoader:
    if config[f"{known.phase}_neg_sample_args"]["sample_num"] == "none":
        return FullSortLoader(config, part, known)
    return DrawnCandidatesLoader(config, part, known, name)


def _samplers(config: Any, dataset: Dataset, parts: list[Dataset]) -> tuple[Any, Any, Any]:
    """Returns RecBole's samplers, which refuse a user that has every item."""
    try:
        samplers: tuple[Any, Any, Any] = create_samplers(config, dataset, parts)
    except ValueError as error:
        raise no_negatives(config, dataset, error) from error
    return samplers


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
) -> dict[str, AbstractDataLoader]:
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
    parts = {name: part for name, part in _further_parts(dataset).items() if not name.startswith(VALIDATION)}
    for kind, part in split_warm_cold(train_data._dataset, dataset.first_test).items():
        parts[f"test:{kind}"] = part
    return _further_loaders(config, dataset, train_data, valid_data, parts, "test")


def further_validation_loaders(
    config: Any, dataset: Dataset, train_data: AbstractDataLoader, valid_data: AbstractDataLoader
) -> dict[str, AbstractDataLoader]:
    """Returns a loader for each further set whose name starts with ``valid_``; it masks as a further test set does.

    Such a set is a validation set of its own, for a shift: it is evaluated at each validation and never tested.
    """
    parts = {name: part for name, part in _further_parts(dataset).items() if name.startswith(VALIDATION)}
    return _further_loaders(config, dataset, train_data, valid_data, parts, "valid")


def _further_parts(dataset: Dataset) -> dict[str, Dataset]:
    return dict(getattr(dataset, "further_tests", {}))


def _further_loaders(
    config: Any,
    dataset: Dataset,
    train_data: AbstractDataLoader,
    valid_data: AbstractDataLoader,
    parts: dict[str, Dataset],
    phase: str,
) -> dict[str, AbstractDataLoader]:
    candidates = getattr(dataset, "test_candidates", config["test_candidates"] or {})
    names = list(dict.fromkeys([*_further_parts(dataset), *parts]))
    loaders = {}
    for name, part in parts.items():
        if len(part) == 0:
            getLogger().warning(f"test set '{name}' of '{config['dataset']}' is empty and left out")
            continue
        sampler = _sampler_beyond(valid_data._sampler, part, phase)
        if only_new(candidates, name, names):
            loaders[name] = new_items_loader(config, train_data._dataset, part, sampler)
        elif isinstance(sampler, KnownPairs):
            loaders[name] = _fast_loader(config, part, sampler, name)
        else:
            loaders[name] = get_dataloader(config, phase)(config, part, sampler, shuffle=False)
    return loaders


def _sampler_beyond(valid_sampler: Any, part: Dataset, phase: str) -> Sampler | KnownPairs | None:
    """Returns a sampler of ``phase`` that knows the positives of training, validation and ``part``."""
    if valid_sampler is None:
        return None
    if isinstance(valid_sampler, KnownPairs):
        return valid_sampler.beyond(part, phase)
    sampler = copy.copy(valid_sampler)
    sampler.phase = phase
    sampler.used_ids = valid_sampler.used_ids.copy()
    users, items = (part.inter_feat[field].numpy() for field in (part.uid_field, part.iid_field))
    order = np.argsort(users, kind="stable")
    touched, starts = np.unique(users[order], return_index=True)
    for user, chunk in zip(touched, np.split(items[order], starts[1:]), strict=True):
        sampler.used_ids[user] = sampler.used_ids[user] | set(chunk)
    return sampler
