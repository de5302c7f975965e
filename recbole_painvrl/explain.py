"""Why a trained model gives a user an item: the parts of the score, and the user's past items that share each part.

Letters: I items (row 0 is RecBole's padding), n past items of a user, w width of a part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_painvrl.errors import UserError
from recbole_painvrl.model.parts import Name, ScorePart, score_parts
from recbole_painvrl.quick_start import load_data_and_model
from recbole_painvrl.recommend import all_scores, item_ids, lists, seen_items, user_ids, write_text

PAST_ITEMS = 3


@dataclass(frozen=True)
class PastItem:
    """An item of the user's training interactions, and how much it shares a part with the explained item, a cosine."""

    item: str
    similarity: float


@dataclass(frozen=True)
class Contribution:
    """One part of the score.

    Attributes:
        part: ``id``, ``users``, ``content``, ``bias`` or ``profile``.
        modality: Of content and profile, else None.
        branch: ``invariant`` or ``variant`` where the model divides features so, else None.
        score: What the part adds to the score.
        above_mean: ``score`` less what the part adds to the average item for this user.
        past_items: The past items that share the part most, the most similar first; only positive similarities. Where
            an item has no features in the modality, it shares none of it.
    """

    part: str
    modality: str | None
    branch: str | None
    score: float
    above_mean: float
    past_items: tuple[PastItem, ...]

    @property
    def label(self) -> str:
        """The first column of the table."""
        return str(Name(self.part, self.modality, self.branch))


@dataclass(frozen=True)
class Explanation:
    """The score of a user and an item, taken apart.

    Attributes:
        user: Original token.
        item: Original token.
        score: The model's score.
        rank: Place among the items that the user has not seen, from 1; None if he has seen this one.
        unseen: How many items he has not seen, in training or validation.
        seen_in: ``training``, ``validation`` or None.
        n_past: Number of his training items.
        new: Whether nobody has the item in training.
        missing: Modalities in which the item has no features, and the mean of the others' stands in.
        parts: What adds up to the score.
    """

    user: str
    item: str
    score: float
    rank: int | None
    unseen: int
    seen_in: str | None
    n_past: int
    new: bool
    missing: tuple[str, ...]
    parts: tuple[Contribution, ...]


def explain(
    model_file: str | Path, users: Sequence[str], items: Sequence[str] | None = None, topk: int = 10
) -> list[Explanation]:
    """Takes the scores of users and items apart.

    Args:
        model_file: A run's folder or a model file.
        users: Original tokens.
        items: Original tokens, explained for each user; None for each user's ``topk`` best unseen items.
        topk: How many items if none is named, at least 1.

    Raises:
        UserError: A user or an item is unknown, there is no model, or its scores cannot be taken apart.
    """
    if topk < 1:
        raise UserError(f"--topk must be at least 1, but got {topk}")
    _, model, dataset, train_data, valid_data, _ = load_data_and_model(model_file)
    asked, named = user_ids(dataset, users), None if items is None else item_ids(dataset, items).tolist()
    explainer = Explainer(model, dataset, train_data._dataset, valid_data._dataset)
    return [one for user in asked.tolist() for one in explainer.of_user(user, named or explainer.best(user, topk))]


class Explainer:
    """Explains the scores of one model.

    Args:
        model: The model.
        dataset: The data set that knows the tokens.
        train: The data set of the training interactions.
        valid: That of the validation interactions.

    Raises:
        UserError: The model's scores cannot be taken apart.
    """

    def __init__(self, model: Any, dataset: Any, train: Any, valid: Any) -> None:
        self.model, self.dataset = model, dataset
        self.parts = score_parts(model)
        self.past = [np.unique(items) for items in seen_items(dataset, [train])]
        self.seen = seen_items(dataset, [train, valid])
        self.known = np.zeros(dataset.item_num, dtype=bool)
        self.known[train.inter_feat[dataset.iid_field].numpy()] = True
        used = dict.fromkeys(name for part in self.parts if (name := part.name.modality))
        self.missing = {name: dataset.modalities[name].missing for name in used}
        self.item_tokens = dataset.field2id_token[dataset.iid_field]

    def best(self, user: int, topk: int) -> list[int]:
        """Returns the ids of the user's best unseen items."""
        found = lists(self.model, self.dataset, torch.tensor([user]), self.seen, topk)
        return item_ids(self.dataset, [one.item for one in found]).tolist()

    def of_user(self, user: int, items: Sequence[int]) -> Iterator[Explanation]:
        """Yields the explanations of the item ids for a user id."""
        scores = all_scores(self.model, self.dataset, torch.tensor([user])).squeeze(0).cpu()
        parts = [(part, part.scores(user).cpu()) for part in self.parts]
        for item in items:
            yield self._explanation(user, item, scores, parts)

    def _explanation(self, user: int, item: int, scores: Tensor, parts: list[tuple[ScorePart, Tensor]]) -> Explanation:
        unseen = torch.ones(len(scores), dtype=torch.bool)
        unseen[0] = False
        unseen[self.seen[user]] = False
        past = self.past[user]
        return Explanation(
            user=str(self.dataset.field2id_token[self.dataset.uid_field][user]),
            item=str(self.item_tokens[item]),
            score=float(scores[item]),
            rank=1 + int((scores[unseen] > scores[item]).sum()) if unseen[item] else None,
            unseen=int(unseen.sum()),
            seen_in=None if unseen[item] else "training" if item in past else "validation",
            n_past=len(past),
            new=not self.known[item],
            missing=self._missing(item),
            parts=tuple(
                self._contribution(part, values, item, past) for part, values in parts if _speaks_of(part, item)
            ),
        )

    def _missing(self, item: int) -> tuple[str, ...]:
        return tuple(name for name, missing in self.missing.items() if missing[item])

    def _contribution(self, part: ScorePart, values: Tensor, item: int, past: np.ndarray) -> Contribution:
        score, mean = float(values[item]), float(values[1:].mean())
        return Contribution(*part.name, score, score - mean, self._past_items(part, item, past))

    def _past_items(self, part: ScorePart, item: int, past: np.ndarray) -> tuple[PastItem, ...]:
        missing = self.missing.get(part.name.modality or "", np.zeros_like(self.known))
        if part.name.kind == "bias" or missing[item]:  # the bias is one direction for all items
            return ()
        others = torch.from_numpy(past[(past != item) & ~missing[past]]).to(part.alike.device)
        cosine = most_alike(part.alike[item], part.alike[others])
        return tuple(PastItem(str(self.item_tokens[int(others[row])]), value) for row, value in cosine)


def most_alike(row: Tensor, others: Tensor, most: int = PAST_ITEMS) -> list[tuple[int, float]]:
    """Returns which rows of ``others`` [n, w] have the largest cosines with ``row`` [w], and these, largest first.

    Only positive ones; a row of zeros is like none. Of equal ones the first comes first.
    """
    cosine = F.normalize(others, dim=1) @ F.normalize(row, dim=0)
    values, order = cosine.sort(descending=True, stable=True)
    return [(int(one), float(value)) for one, value in zip(order[:most], values[:most], strict=True) if value > 0]


def _speaks_of(part: ScorePart, item: int) -> bool:
    """Whether the part can be anything else than 0 for this item; profiles may be switched off by item."""
    return part.name.kind != "profile" or bool(part.items[item].any())


def as_text(explanations: Sequence[Explanation]) -> str:
    """Returns an aligned table for each explanation."""
    return "\n".join(_table(one) for one in explanations)


def _table(one: Explanation) -> str:
    rows = [("part", "score", "above mean", "past items that share it")]
    rows += [(part.label, *_numbers(part.score, part.above_mean), _shared(part)) for part in one.parts]
    rows.append(("sum", *_numbers(one.score, sum(part.above_mean for part in one.parts)), ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        f"{name:<{widths[0]}}  {score:>{widths[1]}}  {above:>{widths[2]}}  {shared}".rstrip()
        for name, score, above, shared in rows
    )
    return "\n".join([_heading(one), *_notes(one), *lines, ""])


def _numbers(score: float, above_mean: float) -> tuple[str, str]:
    return f"{score:.4f}", f"{above_mean:+.4f}"


def _shared(part: Contribution) -> str:
    return ", ".join(f"{past.item} ({past.similarity:.2f})" for past in part.past_items) or "-"


def _heading(one: Explanation) -> str:
    place = f"rank {one.rank} of {one.unseen} unseen items" if one.rank else f"seen in {one.seen_in}"
    return f"user {one.user}, item {one.item}: score {one.score:.4f}, {place}; past items: {one.n_past}"


def _notes(one: Explanation) -> Iterator[str]:
    if one.new:
        yield "nobody has this item in training"
    if one.missing:
        yield f"the item has no features in {', '.join(one.missing)}: the mean of the other items' stands in"


def as_json(explanations: Sequence[Explanation]) -> str:
    """Returns the explanations as a JSON list of objects with the fields of :class:`Explanation`."""
    return json.dumps([asdict(one) for one in explanations], indent=1) + "\n"


def write_json(explanations: Sequence[Explanation], path: str | Path) -> None:
    """Writes the explanations to a JSON file.

    Raises:
        UserError: The file cannot be written.
    """
    write_text(as_json(explanations), path)
