"""What any mask of the features could do for new items: masks learned for nothing but these items' ranking.

    python -m benchmarks.mask_ceiling --datasets ml-100k,tiktok --output results/mask-ceiling.md

ERM is trained on splits whose further sets have new items, of which half are for validation. New items take the mean
vector of the known items whose content is nearest, and the content of a user's items counts besides, as the data set's
settings want it. A mask decides what is near. It is learned by a softmax over new items from

- training: in each step a quarter of the known items is taken for new, and the others are their neighbors;
- the validation half: choices of other new items, made under the same shift;
- the test half itself, which no result may come from: what could be gained at the most.

A mask that is no better than its own permutation has learned nothing that belongs to columns. Rankings are the
package's own, among the new items; p: paired t-test over users, averaged over seeds, against no mask.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown, run
from recbole_painvrl.data.preparation import further_test_loaders, further_validation_loaders
from recbole_painvrl.quick_start import load_data_and_model
from recbole_painvrl.report.significance import averaged, p_text, spread
from recbole_painvrl.trainer.controls import permuted_mask
from recbole_painvrl.utils import get_trainer

NEAREST = 50  # known items that a new one may learn from while a mask is learned
ROWS = 4096  # choices a step
SPLITS = ("cold_items", "cold_clusters")
VALID, TEST = "valid_ood", "test_ood"
HEADER = ("data", "split", "mask learned from", f"{VALID} NDCG@20", f"{TEST} NDCG@20", "p", "permuted", "p",
          "smallest", "largest")  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """Users and items of interactions, [n] each."""

    users: Tensor
    items: Tensor

    def of(self, items: Tensor, n_items: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws choices of some items [C]; returns their users and the items' places, [n] each."""
        place = torch.full((n_items,), -1)
        place[items] = torch.arange(len(items))
        rows = (place[self.items] >= 0).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=source)[:ROWS]]
        return self.users[rows], place[self.items[rows]]


class Ranking:
    """The scores that a trained recommender gives new items, differentiable in a mask."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        with torch.no_grad():
            self.users, self.items = model.scoring_tables(model.item_content())
        self.known = model.warm.nonzero().flatten()
        self.length = model.new_item_length * self.items[self.known].norm(dim=1).mean()
        self.weight = model.new_item_profile_weight / (model.temperature or 1.0)

    def comparable(self, mask: Tensor) -> Tensor:
        """Returns what contents are compared by [I, D], as the model itself does it under a mask [D]."""
        blocks = [slice(block.start, block.stop) for block in self.model.content.blocks]
        parts = [F.normalize(self.model.content.whitened[:, one] * mask[one], dim=1) for one in blocks]
        return F.normalize(torch.cat(parts, dim=1), dim=1)

    def scores(self, mask: Tensor, sharpness: Tensor, users: Tensor, new: Tensor) -> Tensor:
        """Returns the scores [n, C] of ``new`` items [C] for ``users`` [n], the other known items being known."""
        apart = torch.zeros(len(self.items), dtype=torch.bool)
        apart[new] = True
        known, rows = self.known[~apart[self.known]], self.comparable(mask)
        near, index = (rows[new] @ rows[known].T).topk(min(NEAREST, len(known)), dim=1)
        share = torch.softmax(sharpness * near, dim=1)
        vectors = F.normalize((self.items[known][index] * share[:, :, None]).sum(dim=1), dim=1) * self.length
        found: Tensor = self.users[users] @ vectors.T
        if not self.weight:
            return found
        past = F.embedding_bag(self.model.profile_items, rows * ~apart[:, None], self.model.profile_starts, mode="sum")
        return found + self.weight * (F.normalize(past, dim=1)[users] @ rows[new].T)

    def learned(self, choices: Choices, groups: Iterator[Tensor], steps: int, seed: int) -> Tensor:
        """Returns a mask [D] of mean 1, learned on choices of one group of new items [C] a step."""
        source = torch.Generator().manual_seed(seed)
        gate = torch.zeros(self.model.content.dimension, requires_grad=True)
        sharpness = torch.tensor(2.0, requires_grad=True)
        optimizer = torch.optim.Adam([gate, sharpness], lr=0.05)
        for _, new in zip(range(steps), groups, strict=False):
            users, place = choices.of(new, len(self.items), source)
            loss = F.cross_entropy(self.scores(gate.exp(), sharpness.exp(), users, new), place)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        mask = gate.detach().exp()
        return mask / mask.mean()


def quarters(known: Tensor, seed: int) -> Iterator[Tensor]:
    """Yields random quarters of the known items."""
    source = torch.Generator().manual_seed(seed)
    while True:
        yield known[torch.randperm(len(known), generator=source)[: len(known) // 4]]


@dataclass(frozen=True)
class Judged:
    """Results of one mask: by set its mean, and each test user's value under his token."""

    means: dict[str, float]
    users: dict[str, float]


def judge(folder: str) -> tuple[Any, dict[str, Choices], Callable[[Tensor | None], Judged]]:
    """Returns a trained model, the choices of each set, and what judges a mask by the package's own evaluation."""
    config, model, dataset, train, valid, _ = load_data_and_model(folder)
    loaders = further_validation_loaders(config, dataset, train, valid)
    loaders |= {TEST: further_test_loaders(config, dataset, train, valid)[TEST]}
    choices = {
        name: Choices(*(torch.as_tensor(part.inter_feat[field]).long() for field in (part.uid_field, part.iid_field)))
        for name, part in (("train", train._dataset), *((name, one._dataset) for name, one in loaders.items()))
    }
    trainer = get_trainer(config)(config, model)

    def of(mask: Tensor | None) -> Judged:
        model.similarity_mask = lambda: mask
        model.train().eval()  # which forgets the tables of the mask before
        means = {name: trainer.evaluate(one, load_best_model=False)["ndcg@20"] for name, one in loaders.items()}
        users = trainer.per_user()
        tokens = dataset.id2token(dataset.uid_field, users.users)
        return Judged(means, dict(zip(map(str, tokens), users.values["ndcg@20"], strict=True)))

    return model, choices, of


def of_seed(settings: dict[str, Any], steps: int) -> dict[str, tuple[Judged, Judged | None, Tensor | None]]:
    """Trains one recommender; returns by source of the mask its results, those of its permutation, and the mask."""
    model, choices, of = judge(run(settings)["folder"])
    ranking, seed = Ranking(model), settings["seed"]
    groups = {"train": quarters(ranking.known, seed)}
    groups |= {name: repeat(torch.unique(choices[name].items)) for name in (VALID, TEST)}
    found: dict[str, tuple[Judged, Judged | None, Tensor | None]] = {"none": (of(None), None, None)}
    for name, group in groups.items():
        mask = ranking.learned(choices[name], group, steps, seed)
        dealt = permuted_mask(mask, model.content.ranges(), torch.Generator().manual_seed(seed))
        found[name] = of(mask), of(dealt), mask
        print(settings["dataset"], settings["ood_split"]["kind"], seed, name, found[name][0].means, flush=True)
    return found


def by_user(judged: list[Judged]) -> dict[str, float]:
    """Returns each user's value averaged over the seeds in which he has one."""
    return averaged([(np.array(list(one.users)), np.array(list(one.users.values()))) for one in judged])


def p_value(ours: list[Judged], theirs: list[Judged]) -> str:
    """Returns the p of the paired t-test over users."""
    return p_text(by_user(ours), by_user(theirs))


def lines(data: str, split: str, seeds: list[dict[str, Any]]) -> list[list[str]]:
    """Returns the rows of one split."""
    plain = [one["none"][0] for one in seeds]
    names = {"none": "(no mask)", "train": "training", VALID: VALID, TEST: f"{TEST} (not allowed)"}
    rows = []
    for name, label in names.items():
        ours, controls, masks = zip(*(one[name] for one in seeds), strict=True)
        results = [spread([one.means[part] for one in ours]) for part in (VALID, TEST)]
        row = [data, split, label, *results]
        if name == "none":
            rows.append(row + [""] * (len(HEADER) - len(row)))
            continue
        control = spread([one.means[TEST] for one in controls])
        ends = [f"{mean(float(end(mask)) for mask in masks):.2f}" for end in (torch.min, torch.max)]
        rows.append([*row, p_value(list(ours), plain), control, p_value(list(ours), list(controls)), *ends])
    return rows


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="ml-100k,tiktok", help="comma-separated")
    parser.add_argument("--splits", default=",".join(SPLITS), help=f"comma-separated, of {', '.join(SPLITS)}")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated; a seed is the run's and the split's")
    parser.add_argument("--steps", type=int, default=100, help="of learning a mask")
    add_keys(parser)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Writes the table, after each split anew."""
    given, rows = arguments(), []
    seeds = [int(seed) for seed in given.seeds.split(",")]
    keys = "".join(f"--set {key}, " for key in given.set)
    head = f"# What a mask could do for new items\n\n{keys}seeds {given.seeds}, of runs and splits: mean ± standard "
    head += (
        "deviation. Masks have the mean 1. p: over users, two-sided, against no mask, then against the permuted.\n\n"
    )
    base = {"model": "ERM", "new_items": "neighbors", "valid_metric": "NDCG@20", "show_progress": False}
    for data in given.datasets.split(","):
        for kind in given.splits.split(","):
            split = {"kind": kind, "candidates": "new", "validation_share": 0.5}
            found = []
            for seed in seeds:
                settings = {**base, **given_keys(given), "dataset": data, "seed": seed}
                found.append(of_seed({**settings, "ood_split": {**split, "seed": seed}}, given.steps))
            rows += lines(data, kind, found)
            write(given.output, head + markdown(HEADER, rows))
    print(given.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
