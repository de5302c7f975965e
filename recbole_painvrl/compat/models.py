"""Single RecBole models that need a hand, and the reasons of those that cannot run at all."""

from __future__ import annotations

import functools
import importlib.util
import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from recbole.config import Config
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from sklearn.cluster import KMeans
from torch import Tensor

from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import derive_seed

if TYPE_CHECKING:
    from recbole.model.abstract_recommender import GeneralRecommender

# Mixins of their own at run time, so that they stand before any of RecBole's classes.
_Base: type[Any] = GeneralRecommender if TYPE_CHECKING else object


class StateRepairs(_Base):
    """Names what a model keeps in plain attributes, so that checkpoints hold it and a reloaded model is the same one.

    Attributes:
        forgotten_state: Names of the attributes that RecBole's model forgets to declare.
    """

    forgotten_state: tuple[str, ...] = ()

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        declared = getattr(self, "other_parameter_name", [])
        self.other_parameter_name = [*declared, *self.forgotten_state]


class NCLRepairs(StateRepairs):
    """Clusters with scikit-learn, because RecBole's NCL wants faiss with a GPU whatever the device is.

    It also asks for no more clusters than there are points, which faiss refuses.

    Source: https://github.com/RUCAIBox/RecBole/blob/v1.2.1/recbole/model/general_recommender/ncl.py (line 89).
    """

    forgotten_state = ("user_centroids", "user_2cluster", "item_centroids", "item_2cluster")

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self._cluster_seed = derive_seed(config["seed"], "NCL clusters") % 2**32

    def run_kmeans(self, x: Any) -> tuple[Tensor, Tensor]:
        """Clusters the rows of ``x``, a float array [n, d].

        Returns:
            The centroids, of length one, [k, d], and the cluster of each row [n].
        """
        means = KMeans(n_clusters=min(self.k, len(x)), n_init=1, max_iter=25, random_state=self._cluster_seed).fit(x)
        centroids = torch.as_tensor(means.cluster_centers_, dtype=torch.float32, device=self.device)
        clusters = torch.as_tensor(means.labels_, dtype=torch.long, device=self.device)
        return torch.nn.functional.normalize(centroids, dim=1), clusters


class NNCFRepairs(StateRepairs):
    """Keeps the neighbors, which each construction draws anew, and asks for the packages that ``louvain`` needs."""

    forgotten_state = ("u_neigh", "i_neigh")

    def __init__(self, config: Config, dataset: Dataset) -> None:
        if config["neigh_info_method"] == "louvain":
            for module, package in (("networkx", "networkx"), ("community", "python-louvain")):
                if importlib.util.find_spec(module) is None:
                    raise UserError(
                        f"neigh_info_method: louvain needs {package}; pip install {package}, or take random or knn"
                    )
        super().__init__(config, dataset)


class DiffusionRepairs(StateRepairs):
    """Keeps the history of losses by step, from which DiffRec and L-DiffRec draw the steps of the next batch."""

    forgotten_state = ("Lt_history", "Lt_count")


class LINERepairs(StateRepairs):
    """Keeps the shuffled users, from which LINE takes the partners of the next batch."""

    forgotten_state = ("random_list",)


class RandomRepairs(_Base):
    """Gives every pair its own score that only the seed decides.

    RecBole's Random draws one list a batch and gives it to all users of the batch, and another one at each evaluation.
    """

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self._mix = derive_seed(config["seed"], "Random scores") % 2**31

    def _scores(self, users: Tensor, items: Tensor) -> Tensor:
        # A multiplicative hash (odd constants of 31 bits; int64 wraps around) and its upper bits as a number in [0, 1).
        mixed = (users * self.n_items + items + 1) * 0x5851F42D + self._mix
        mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D
        mixed = (mixed ^ (mixed >> 12)) * 0x297A2D39
        return ((mixed ^ (mixed >> 15)) & 0xFFFFFF) / 2.0**24

    def predict(self, interaction: Interaction) -> Tensor:
        """Returns the scores [B] of the batch's pairs, in [0, 1)."""
        return self._scores(interaction[self.USER_ID], interaction[self.ITEM_ID])

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Returns the scores [B * I] of all items for each user of the batch."""
        users = interaction[self.USER_ID]
        return self._scores(users[:, None], torch.arange(self.n_items, device=users.device)).view(-1)


class PretrainedRepairs(_Base):
    """Tells in one line what is wrong with the pretrained files that ConvNCF, NAIS, NeuMF and RaCT can start from.

    They call bare ``torch.load``: it reads this package's checkpoints, but refuses RecBole's own, which hold objects.

    Source: https://github.com/RUCAIBox/RecBole/issues/2212
    """

    def __init__(self, config: Config, dataset: Dataset) -> None:
        path_keys = ("pre_model_path", "pretrain_path", "mf_pretrain_path", "mlp_pretrain_path")
        given = ", ".join(f"{key}={config[key]!r}" for key in path_keys if key in config)
        try:
            with _quiet_logging():
                super().__init__(config, dataset)
        except (AssertionError, OSError, KeyError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise UserError(
                f"{config['model']} cannot start from its pretrained files ({given}): {reason}; name checkpoints of "
                "the same data set and sizes that this package wrote"
            ) from error


class RaCTRepairs(PretrainedRepairs):
    """Judges the actor by no more items than there are; RecBole's default of 100 crashes with fewer."""

    def calculate_ndcg(self, predict_matrix: Tensor, true_matrix: Tensor, input_matrix: Tensor, k: int) -> Tensor:
        """Returns NDCG@min(k, I) of each user of the batch [B], from three matrices [B, I]."""
        return super().calculate_ndcg(predict_matrix, true_matrix, input_matrix, min(k, predict_matrix.shape[1]))


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Keeps quiet about RaCT's log line with a missing placeholder, which Python reports with a traceback."""
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        yield
    finally:
        logging.raiseExceptions = before


_REPAIRS: dict[str, type] = {
    "ConvNCF": PretrainedRepairs,
    "DiffRec": DiffusionRepairs,
    "LDiffRec": DiffusionRepairs,
    "LINE": LINERepairs,
    "NAIS": PretrainedRepairs,
    "NCL": NCLRepairs,
    "NeuMF": PretrainedRepairs,
    "NNCF": NNCFRepairs,
    "RaCT": RaCTRepairs,
    "Random": RandomRepairs,
}

# Models that this package refuses by name, and why.
UNUSABLE: dict[str, str] = dict.fromkeys(
    ("LightGBM", "XGBoost"),
    "it is trained inside its own library, without epochs, records and checkpoints; use RecBole itself for it",
)


@functools.cache
def repaired_model(model_class: type) -> type:
    """Returns ``model_class``, or a subclass of the same name with the repairs it needs."""
    repairs = _REPAIRS.get(model_class.__name__)
    if repairs is None or not model_class.__module__.startswith("recbole."):
        return model_class
    return type(model_class.__name__, (repairs, model_class), {"__module__": model_class.__module__})
