"""What of a model and of a trainer's optimizers belongs into a checkpoint, and how it gets back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from recbole_painvrl.errors import UserError

TOKENS_A_PIECE = 100_000


def model_state(model: Any) -> dict[str, Any]:
    """Returns the model's tensors and, under RecBole's name, whatever else it declares as its state.

    Modules and parameters among the declared ones are left out: the state dict has them.
    """
    other = {
        name: value
        for name, value in model.other_parameter().items()
        if not isinstance(value, nn.Module | nn.Parameter)
    }
    return {"state_dict": model.state_dict(), "other_parameter": other}


def load_model(model: Any, state: dict[str, Any], device: torch.device) -> None:
    """Puts the result of :func:`model_state` into ``model``.

    Raises:
        UserError: The tensors have other shapes or names, as after a change of the data set.
    """
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the stored model does not fit: is the data set still the same? {reason}") from error
    other = {
        name: value.to(device, copy=True) if torch.is_tensor(value) else value
        for name, value in state["other_parameter"].items()
    }
    model.load_other_parameter(other)


def token_digests(dataset: Any) -> dict[str, str]:
    """Returns a digest of the tokens in the order of their ids, under ``users`` and ``items``."""
    fields = {"users": dataset.uid_field, "items": dataset.iid_field}
    return {name: _digest(dataset.field2id_token[field]) for name, field in fields.items()}


def _digest(tokens: np.ndarray) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(tokens), TOKENS_A_PIECE):
        piece = tokens[start : start + TOKENS_A_PIECE].tolist()
        digest.update("\n".join([*piece, ""]).encode())
    return digest.hexdigest()


def check_tokens(stored: Mapping[str, str] | None, dataset: Any, file: str | Path) -> None:
    """Compares the digests of a checkpoint with a data set; those that were written without any pass.

    Args:
        stored: Result of :func:`token_digests` where the model was trained, or None.
        dataset: The data set to use the model with.
        file: The checkpoint, for the message.

    Raises:
        UserError: Ids stand for other tokens now.
    """
    found = token_digests(dataset) if stored else {}
    others = " and ".join(name for name in found if found[name] != (stored or {}).get(name))
    if others:
        raise UserError(
            f"{file}: the data have changed since this model was trained: the {others} of {dataset.dataset_path} are "
            "others or in another order, and would be taken for one another; put the files back, or train again"
        )


def plain_numbers(model: Any) -> dict[str, float]:
    """Returns the numbers that the model keeps as attributes.

    Some RecBole models count their steps in one (MultiVAE anneals its penalty by it), and none declares it.
    """
    return {name: value for name, value in vars(model).items() if name != "training" and type(value) in (int, float)}


def _optimizers(trainer: Any) -> dict[str, torch.optim.Optimizer]:
    return {name: value for name, value in vars(trainer).items() if isinstance(value, torch.optim.Optimizer)}


def optimizer_states(trainer: Any) -> dict[str, Any]:
    """Returns the states of all optimizers that a trainer holds.

    RecVAE's trainer has two and lets ``optimizer`` point to one of them in turn, so that is stored as well.
    """
    optimizers = _optimizers(trainer)
    others = {name: one for name, one in optimizers.items() if name != "optimizer"}
    same = next((name for name, one in others.items() if one is optimizers["optimizer"]), None)
    return {
        "optimizer": optimizers["optimizer"].state_dict(),
        "optimizer_is": same,
        "optimizers": {name: one.state_dict() for name, one in others.items()},
    }


def forget_optimizers(trainer: Any) -> None:
    """Frees what the optimizers keep of the gradients, twice the model for Adam, where training ends or starts anew."""
    for optimizer in _optimizers(trainer).values():
        optimizer.state.clear()


def restore_optimizers(trainer: Any, state: dict[str, Any]) -> None:
    """Puts the result of :func:`optimizer_states` into the trainer's optimizers."""
    for name, stored in state["optimizers"].items():
        _optimizers(trainer)[name].load_state_dict(stored)
    if state["optimizer_is"]:
        trainer.optimizer = getattr(trainer, state["optimizer_is"])
    else:
        trainer.optimizer.load_state_dict(state["optimizer"])
