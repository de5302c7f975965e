"""Checks of values, so that a mistake is told before the data are read and not after the first epoch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recbole.evaluator import metric_types
from recbole.evaluator.base_metric import LossMetric
from recbole.evaluator.register import metrics_dict
from recbole.utils import EvaluatorType

from recbole_painvrl.config_data_checks import DATA_RULES
from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.evaluator import metrics as _metrics  # noqa: F401  (adds NDCG_hit to RecBole's tables)

Settings = Mapping[str, Any]
Check = Callable[[Any], bool]

_LEARNERS = ("adam", "adamw", "sgd", "adagrad", "rmsprop", "sparse_adam")
_STATES = ("debug", "info", "warning", "error", "critical")
_EVAL_MODE = re.compile(r"^(full|labeled|(uni|pop)[1-9][0-9]*)$")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value


def _whole(least: int, most: int = 2**63) -> tuple[str, Check]:
    limit = f" up to {most}" if most < 2**63 else ""
    return f"a whole number from {least}{limit}", lambda value: _is_int(value) and least <= value <= most


def _number(range_: str, fits: Check) -> tuple[str, Check]:
    return f"a number {range_}", lambda value: _is_number(value) and math.isfinite(value) and fits(value)


def _numbers(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(_is_number(part) and part >= 0 for part in value)


def _one_of(*choices: str) -> tuple[str, Check]:
    # RecBole compares these in lower case.
    return f"one of {', '.join(choices)}", lambda value: isinstance(value, str) and value.lower() in choices


def _optional(rule: tuple[str, Check]) -> tuple[str, Check]:
    return f"{rule[0]}, or ~", lambda value: value is None or rule[1](value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


_BOOL: tuple[str, Check] = ("True or False", lambda value: isinstance(value, bool))
_DICT: tuple[str, Check] = ("a dict", lambda value: isinstance(value, dict))
_TEXT: tuple[str, Check] = ("a text", lambda value: isinstance(value, str) and bool(value))
_LIST_OF_TEXT: tuple[str, Check] = ("a list of texts", _texts)

# What RecBole takes for granted, and would tell late, badly or not at all.
RULES: dict[str, tuple[str, Check]] = {
    "epochs": _whole(0),
    "train_batch_size": _whole(1),
    "eval_batch_size": _whole(1),
    "eval_step": _whole(0),
    "stopping_step": _whole(0),
    "seed": _whole(0, 2**32 - 1),  # what numpy's generator takes
    "worker": _whole(0),
    "metric_decimal_place": _whole(1, 15),
    "loss_decimal_place": _whole(1, 15),
    "MAX_ITEM_LIST_LENGTH": _whole(1),
    "learning_rate": ("a number above 0", lambda value: _is_number(value) and value > 0),
    "weight_decay": ("a number from 0", lambda value: _is_number(value) and value >= 0),
    "learner": _one_of(*_LEARNERS),
    "state": _one_of(*_STATES),
    "rm_dup_inter": _optional(_one_of("first", "last")),
    "clip_grad_norm": _optional(_DICT),
    **DATA_RULES,
    "normalize_field": _optional(_LIST_OF_TEXT),
    "train_neg_sample_args": _optional(_DICT),
    "modalities": ("a dict, a list of names, or ~", lambda value: value is None or isinstance(value, (dict, list))),
    "feature_memory": _one_of("auto", "mmap", "ram"),
    "ood_split": ("a kind, a dict {kind: ...}, or ~", lambda value: value is None or isinstance(value, (str, dict))),
    "test_candidates": _optional(_DICT),
    "eval_groups": _optional(_LIST_OF_TEXT),
    "benchmark_filename": (
        "a list of at least three names: training, validation, test ..., or ~",
        lambda value: value is None or (_texts(value) and len(value) >= 3 and len(set(value)) == len(value)),
    ),
    "data_path": _TEXT,
    "output_dir": _TEXT,
    "checkpoint_dir": _TEXT,
    **dict.fromkeys(("use_gpu", "show_progress", "reproducibility", "save_dataset", "save_dataloaders"), _BOOL),
    **dict.fromkeys(("log_wandb", "shuffle", "repeatable", "enable_amp", "enable_scaler", "require_pow"), _BOOL),
    "tuned_defaults": _BOOL,
}


_SHARE = _number("from 0 to 1", lambda value: 0 <= value <= 1)
_FROM_ZERO = _number("from 0", lambda value: value >= 0)
_ABOVE_ZERO = _number("above 0", lambda value: value > 0)

# The keys of this package's models; other libraries' models give some of these names another meaning.
MODEL_RULES: dict[str, tuple[str, Check]] = {
    **dict.fromkeys(("embedding_size", "feature_size", "new_item_neighbors", "graph_neighbors"), _whole(1)),
    **dict.fromkeys(("n_layers", "n_negatives", "warmup_epochs", "n_rounds", "env_max_iter"), _whole(0)),
    **dict.fromkeys(("mask_batch_size", "mask_candidates", "n_routing"), _whole(0)),
    "n_item_layers": _whole(0),
    "mask_steps": _whole(1),
    "n_environments": _whole(2),
    **dict.fromkeys(("reg_weight", "projection_reg_weight", "negative_weight", "graph_weight"), _FROM_ZERO),
    **dict.fromkeys(("profile_weight", "new_item_profile_weight", "irm_weight", "mask_sigma"), _FROM_ZERO),
    **dict.fromkeys(("init_std", "mask_lr", "env_gap", "new_item_length"), _ABOVE_ZERO),
    **dict.fromkeys(("modality_loss_weight", "ssl_weight"), _FROM_ZERO),
    "ssl_tau": _ABOVE_ZERO,
    "temperature": _optional(_ABOVE_ZERO),
    **dict.fromkeys(("pruned_share", "initial_graph_weight", "dropout_prob"), _SHARE),
    "modality_weights": _optional(_DICT),
    **dict.fromkeys(("id_dropout", "env_tolerance", "variant_tolerance", "invariant_loss_weight"), _SHARE),
    "variant_weight": (
        "a number from 0, or validation",
        lambda value: value == "validation" or (_is_number(value) and math.isfinite(value) and value >= 0),
    ),
    "variant_weights": (
        "a list of numbers from 0",
        lambda value: isinstance(value, list) and bool(value) and _numbers(value, len(value)),
    ),
    "variant_training_weight": _ABOVE_ZERO,
    **dict.fromkeys(("env_min_share", "mask_threshold"), _optional(_SHARE)),
    "mask_groups": (
        "feature, modality, or a whole number from 1",
        lambda value: value in ("feature", "modality") or (_is_int(value) and value >= 1),
    ),
    "mask_smoothing": _number("from 0, below 1", lambda value: 0 <= value < 1),
    **dict.fromkeys(("refit_each_round", "faithful"), _BOOL),
    **dict.fromkeys(("faithful_irm_weight", "faithful_gate_weight"), _FROM_ZERO),
    "weight_growth": _ABOVE_ZERO,
    "env_epochs": _whole(1),
    "env_field": _optional(_TEXT),
    "loss_weights": ("four numbers from 0", lambda value: _numbers(value, 4)),
    "pareto_bounds": (
        "two numbers from 0 that add up to at most 1",
        lambda value: _numbers(value, 2) and sum(value) <= 1,
    ),
}


def check_settings(settings: Settings, defaults: Settings, origins: Mapping[str, str], own: frozenset[str]) -> None:
    """Checks all values of a resolved configuration.

    Args:
        settings: The configuration before RecBole completes it.
        defaults: The defaults, whose types other values must have.
        origins: For each key that the user gave, where from.
        own: The keys of this package's properties, where a whole number as default means whole numbers only.

    Raises:
        UserError: At the first value that is not what its key expects.
    """
    for key, value in settings.items():
        rule = RULES.get(key) or (MODEL_RULES.get(key) if key in own else None)
        expected, fits = rule or _rule_of_default(defaults.get(key), key in own)
        if not fits(value):
            raise UserError(f"{key}: expected {expected}, found {value!r}{_from(key, origins)}")
    _check_caches(settings, origins)
    _check_metrics(settings, origins)
    _check_eval_args(settings["eval_args"], origins)


def _from(key: str, origins: Mapping[str, str]) -> str:
    return f" ({origins[key]})" if key in origins else ""


def _rule_of_default(default: Any, own: bool) -> tuple[str, Check]:
    """Returns what the type of a default says of other values; ~ may replace any of them."""
    if isinstance(default, bool):
        return _optional(_BOOL)
    if _is_int(default) and own:
        return _optional(("a whole number", _is_int))
    if isinstance(default, (int, float)):
        return _optional(("a number", _is_number))
    return "anything", lambda value: True


def _check_caches(settings: Settings, origins: Mapping[str, str]) -> None:
    """Refuses RecBole's pickled caches: they run code when read, and are reused though features or data changed."""
    for key in ("save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path"):
        if settings.get(key):
            raise UserError(
                f"{key}: pickled data sets are neither written nor read here; remove the key{_from(key, origins)}"
            )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _check_metrics(settings: Settings, origins: Mapping[str, str]) -> None:
    """Checks ``metrics``, ``topk`` and that ``valid_metric`` is among them."""
    names = _as_list(settings["metrics"])
    for name in names:
        if not isinstance(name, str) or name.lower() not in metric_types:
            known = [metric.__name__ for metric in metrics_dict.values()]
            hint = nearest(str(name), known) or f" Known: {', '.join(known)}."
            raise UserError(f"metrics: there is no metric '{name}'{_from('metrics', origins)}.{hint}")
    if not names or len({metric_types[name.lower()] for name in names}) > 1:
        raise UserError(f"metrics: expected ranking metrics or value metrics, not both and not none, found {names}")
    topk = _as_list(settings["topk"])
    if not topk or not all(_is_int(k) and k > 0 for k in topk):
        raise UserError(f"topk: expected whole numbers above 0, found {settings['topk']!r}{_from('topk', origins)}")
    results = metric_results(names, topk)
    valid = settings["valid_metric"]
    if not isinstance(valid, str) or valid.lower() not in [result.lower() for result in results]:
        raise UserError(
            f"valid_metric: '{valid}' is not among the results{_from('valid_metric', origins)}; expected one of "
            f"{', '.join(results)}, or add to metrics and topk"
        )


def metric_results(names: Sequence[str], topk: Sequence[int]) -> list[str]:
    """Returns the names of the results, such as ``NDCG@20``, of metrics at each k; GAUC and value metrics have no k."""
    results = []
    for name in names:
        alone = name.lower() == "gauc" or issubclass(metrics_dict[name.lower()], LossMetric)
        alone = alone or metric_types[name.lower()] == EvaluatorType.VALUE
        results += [name] if alone else [f"{name}@{k}" for k in topk]
    return results


def default_valid_metric(settings: Settings) -> str:
    """Returns ``valid_metric``, or if metrics or topk leave it out NDCG, else the first metric, at the largest k."""
    names, topk = _as_list(settings["metrics"]), _as_list(settings["topk"])
    if not all(isinstance(name, str) and name.lower() in metrics_dict for name in names) or not names or not topk:
        return settings["valid_metric"]  # left to the check of metrics and topk
    results = metric_results(names, topk)
    if settings["valid_metric"].lower() in [result.lower() for result in results]:
        return settings["valid_metric"]
    preferred = next((name for name in names if name.lower() == "ndcg"), names[0])
    return metric_results([preferred], [max(topk, key=lambda k: k if _is_number(k) else 0)])[0]


def _check_eval_args(eval_args: Any, origins: Mapping[str, str]) -> None:
    """Checks how to split, order and evaluate."""
    origin = _from("eval_args", origins)
    parts = ("split", "group_by", "order", "mode")
    if not isinstance(eval_args, dict):
        raise UserError(f"eval_args: expected a dict with some of {', '.join(parts)}, found {eval_args!r}{origin}")
    for key in eval_args:
        if key not in parts:
            raise UserError(f"eval_args: unknown key '{key}'{origin}.{nearest(str(key), parts)}")
    if eval_args.get("group_by", "user") not in ("user", "none", None):
        raise UserError(f"eval_args.group_by: expected user or ~, found {eval_args['group_by']!r}{origin}")
    if eval_args.get("order", "RO") not in ("RO", "TO"):
        raise UserError(f"eval_args.order: expected RO (random) or TO (by time), found {eval_args['order']!r}{origin}")
    _check_split(eval_args.get("split"), origin)
    _check_modes(eval_args.get("mode"), origin)


def _check_split(split: Any, origin: str) -> None:
    if split is None:
        return
    shapes = "{RS: [0.8, 0.1, 0.1]}, {TS: [0.8, 0.1, 0.1]}, {LS: valid_and_test} or ~"
    kind: Any
    value: Any
    kind, value = next(iter(split.items())) if isinstance(split, dict) and len(split) == 1 else (None, None)
    ratios = isinstance(value, list) and len(value) == 3 and all(_is_number(part) and part >= 0 for part in value)
    if not ((kind in ("RS", "TS") and ratios and sum(value) > 0) or (kind == "LS" and value == "valid_and_test")):
        raise UserError(f"eval_args.split: expected {shapes}, found {split!r}{origin}")


def _check_modes(mode: Any, origin: str) -> None:
    modes = mode if isinstance(mode, dict) else {"valid": mode, "test": mode}
    for phase, name in modes.items():
        if phase not in ("valid", "test"):
            raise UserError(f"eval_args.mode: expected the phases valid and test, found '{phase}'{origin}")
        if name is not None and not (isinstance(name, str) and _EVAL_MODE.match(name)):
            raise UserError(
                f"eval_args.mode: expected full, labeled, uni100 or pop100 (any number), found {name!r}{origin}"
            )
