"""Top-k items of a trained model by original token.

Letters: B users of a batch, I items, k recommended items.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.files import atomic_file
from recbole_painvrl.quick_start import load_data_and_model

SCORES_PER_BATCH = 4_000_000


class Recommendation(NamedTuple):
    """One line of a list."""

    user: str
    rank: int
    item: str
    score: float


def recommend(model_file: str | Path, users: Sequence[str] | None = None, topk: int = 10) -> list[Recommendation]:
    """Returns the ``topk`` best items of each user that are in neither its training nor its validation interactions.

    Args:
        model_file: A run's folder or a model file.
        users: Original tokens; all users if None.
        topk: How many items, at least 1; a user with fewer items left gets fewer.

    Raises:
        UserError: A user is unknown, or there is no model.
    """
    if topk < 1:
        raise UserError(f"--topk must be at least 1, but got {topk}")
    _, model, dataset, train_data, valid_data, _ = load_data_and_model(model_file)
    ids = user_ids(dataset, users)
    seen = seen_items(dataset, [train_data._dataset, valid_data._dataset])
    return list(lists(model, dataset, ids, seen, topk))


def user_ids(dataset: Any, users: Sequence[str] | None) -> Tensor:
    """Returns the ids [B] of the users with these tokens; of all users if None.

    Raises:
        UserError: A user is unknown.
    """
    if users is None:
        return torch.arange(1, dataset.user_num)
    return _ids(dataset, dataset.uid_field, users, "user")


def item_ids(dataset: Any, items: Sequence[str]) -> Tensor:
    """Returns the ids of the items with these tokens.

    Raises:
        UserError: An item is unknown.
    """
    return _ids(dataset, dataset.iid_field, items, "item")


def _ids(dataset: Any, field: str, tokens: Sequence[str], kind: str) -> Tensor:
    known = dataset.field2token_id[field]
    real = [token for token, number in known.items() if number]
    for token in tokens:
        if not known.get(token):
            raise UserError(f"--{kind}s: there is no {kind} '{token}' in {dataset.dataset_name}.{nearest(token, real)}")
    return torch.tensor([known[token] for token in tokens])


def seen_items(dataset: Any, parts: Sequence[Any]) -> list[np.ndarray]:
    """Returns for each user id the item ids it has in any of ``parts``."""
    users = np.concatenate([part.inter_feat[dataset.uid_field].numpy() for part in parts])
    items = np.concatenate([part.inter_feat[dataset.iid_field].numpy() for part in parts])
    order = np.argsort(users, kind="stable")
    starts = np.searchsorted(users[order], np.arange(1, dataset.user_num))
    return np.split(items[order], starts)


def lists(model: Any, dataset: Any, ids: Tensor, seen: list[np.ndarray], topk: int) -> Iterator[Recommendation]:
    """Yields the lists of the user ids [B], without the item ids that each user id has in ``seen``."""
    for batch in ids.split(max(1, SCORES_PER_BATCH // dataset.item_num)):
        scores = all_scores(model, dataset, batch).cpu()
        for row, user in enumerate(batch.tolist()):
            scores[row, seen[user]] = -torch.inf
        best = torch.topk(scores, min(topk, dataset.item_num - 1))
        tokens = dataset.id2token(dataset.iid_field, best.indices.numpy())
        names = dataset.id2token(dataset.uid_field, batch.numpy())
        for name, items, values in zip(names, tokens, best.values.tolist(), strict=True):
            for rank, (item, value) in enumerate(zip(items, values, strict=True), start=1):
                if value > -torch.inf:
                    yield Recommendation(str(name), rank, str(item), value)


@torch.no_grad()
def all_scores(model: Any, dataset: Any, users: Tensor) -> Tensor:
    """Returns the scores [B, I] of all items for the user ids [B]; the padding item gets ``-inf``."""
    batch = dataset.join(Interaction({dataset.uid_field: users})).to(model.device)
    try:
        scores = model.full_sort_predict(batch)
    except NotImplementedError:  # a model that scores single pairs only
        items = dataset.get_item_feature().to(model.device)
        pairs = batch.repeat_interleave(dataset.item_num)
        pairs.update(items.repeat(len(users)))
        scores = model.predict(pairs)
    scores = scores.view(len(users), -1)
    scores[:, 0] = -torch.inf
    return scores


def as_csv(recommendations: Sequence[Recommendation]) -> str:
    """Returns the lists as CSV text with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Recommendation._fields)
    writer.writerows((*one[:3], f"{one.score:.6g}") for one in recommendations)
    return text.getvalue()


def write_csv(recommendations: Sequence[Recommendation], path: str | Path) -> None:
    """Writes the lists to a CSV file.

    Raises:
        UserError: The file cannot be written.
    """
    write_text(as_csv(recommendations), path)


def write_text(text: str, path: str | Path) -> None:
    """Writes the file that ``--output`` names.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        with atomic_file(path, "--output") as file:
            file.write(text.encode())
    except OSError as error:
        raise UserError(f"--output: cannot write {path} ({error.strerror})") from error
