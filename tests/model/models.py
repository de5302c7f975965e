"""Names this package's models, and builds them on the checkerboard."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import torch

from recbole_painvrl.config import Config
from recbole_painvrl.model import general_recommender
from recbole_painvrl.model.abstract_recommender import MultimodalRecommender
from recbole_painvrl.utils import create_dataset, data_preparation, get_model, model_names
from tests.inputs import write_checkerboard

_FILES = {module.name for module in pkgutil.iter_modules(general_recommender.__path__)}
OURS = [name for name in model_names() if name.lower() in _FILES]


def build(folder: Path, model: str, **keys: Any) -> tuple[MultimodalRecommender, Any, Any]:
    """Returns a fresh model on a checkerboard in ``folder``, its configuration and its training loader."""
    board = write_checkerboard(folder)
    config = Config(model, board.name, config_dict=board.config(use_gpu=False, embedding_size=8, **keys))
    train, *_ = data_preparation(config, create_dataset(config))
    return get_model(model)(config, train.dataset), config, train


def to_final(model: Any, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Puts a PaInvRL model into its final stage under ``mask`` (drawn if None) and returns the mask."""
    if mask is None:
        mask = torch.rand(model.mask.shape, generator=torch.Generator().manual_seed(1))
    model.mask.copy_(mask)
    model.begin_final()
    with torch.no_grad():
        model.attention.query.normal_(generator=torch.Generator().manual_seed(2))
    return mask
