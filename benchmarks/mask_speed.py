"""CPU time of one step of the mask search: ours beside two ways to write it with autograd.

Run ``python benchmarks/mask_speed.py``. Data are simulated in TikTok's shape. It first checks that all ways find the
same risk, penalty and gradients on one batch, then measures them in turns in one process that keeps freed memory.
Numbers are milliseconds of one thread's CPU time for drawing a batch and differentiating it, medians over the rounds.
(b) shares tables and sampler with (c).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad, softplus

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.problem import TIKTOK_SHAPE, simulated
from recbole_painvrl.allocator import keep_freed_memory
from recbole_painvrl.invariance import (
    PENALTIES,
    BPRLoss,
    EnvironmentBatch,
    EnvironmentSampler,
    FrozenRecommender,
    Interactions,
    PairLoss,
    SoftmaxLoss,
    UltraGCNLoss,
    draw_candidates,
    environment_terms,
)
from recbole_painvrl.invariance.closed_form import PenalizedBatch
from recbole_painvrl.invariance.estimate import RunningSquare
from recbole_painvrl.invariance.penalty import mean_risk_gradients
from recbole_painvrl.randomness import generator

REPOSITORY = Path(__file__).resolve().parent.parent
ID_SIZE, FEATURE_SIZE = 64, 64
LOSSES = ("softmax", "ultragcn", "bpr")
Answer = tuple[Tensor, Tensor, Tensor, Tensor]  # risk [], penalty [], its gradient by the gate [D], the risk's by W


@dataclass(frozen=True)
class Study:
    """Frozen tables, batches and the point at which they are differentiated."""

    frozen: FrozenRecommender
    interactions: Interactions
    sampler: EnvironmentSampler
    loss: PairLoss
    candidates: int
    source: torch.Generator
    projection: Tensor
    gate: Tensor

    def batch(self) -> EnvironmentBatch:
        """Draws the next batch."""
        drawn = draw_candidates(self.frozen.n_items, self.candidates, self.source, self.gate.device)
        return self.sampler.batch(self.interactions, drawn, self.gate.dtype)


def study(name: str, options: argparse.Namespace) -> Study:
    """Returns random tables and random environments of the given shape."""
    problem, source = simulated(*options.shape), generator(0, "benchmark mask")
    n_users, features = problem.n_users + 1, pad(problem.features, (0, 0, 1, 0))
    n_items = len(features)
    rows = Interactions(problem.user + 1, problem.item + 1)

    def normal(*shape: int) -> Tensor:
        return 0.3 * torch.randn(shape, generator=source)

    frozen = FrozenRecommender(
        normal(n_users, ID_SIZE), normal(n_users, FEATURE_SIZE), normal(n_items, ID_SIZE), features
    )
    labels = torch.randint(options.environments, (len(rows),), generator=source)
    ultragcn = UltraGCNLoss.from_interactions(rows.users, rows.items, n_users, n_items)
    loss = {"softmax": SoftmaxLoss(), "ultragcn": ultragcn, "bpr": BPRLoss()}[name]
    sampler = EnvironmentSampler(labels, options.environments, options.batch_size, source)
    projection, gate = normal(FEATURE_SIZE, features.shape[1]), torch.rand(features.shape[1], generator=source)
    return Study(frozen, rows, sampler, loss, options.candidates, source, projection, gate)


def environment_losses(
    frozen: FrozenRecommender, batch: EnvironmentBatch, projection: Tensor, loss: PairLoss
) -> Tensor:
    """Returns each environment's mean loss [E] from the scores' definition, for autograd."""
    user_id, user_feature = frozen.user_id[batch.users], frozen.user_feature[batch.users]
    own = (user_id * frozen.item_id[batch.items]).sum(-1)
    own = own + ((frozen.features[batch.items] @ projection.T) * user_feature).sum(-1)
    others = user_id @ frozen.item_id[batch.candidates].T
    others = others + user_feature @ (frozen.features[batch.candidates] @ projection.T).T
    if isinstance(loss, SoftmaxLoss):
        others = others.masked_fill(batch.items[..., None] == batch.candidates, -torch.inf)
        values = torch.logsumexp(torch.cat([own[..., None], others], dim=-1), dim=-1) - own
    elif isinstance(loss, BPRLoss):
        values = -logsigmoid(own[..., None] - others).mean(dim=-1)
    else:
        w1, w2, w3, w4 = loss.constants
        of_user = loss.user_factor[batch.users]
        down = w3 + w4 * of_user[..., None] * loss.item_factor[batch.candidates]
        up = w1 + w2 * of_user * loss.item_factor[batch.items]
        values = up * softplus(-own) + loss.negative_weight * (down * softplus(others)).mean(dim=-1)
    return (batch.weights * values).sum(dim=1)


def twice(study: Study, batch: EnvironmentBatch) -> Answer:
    """Differentiates each environment's loss by autograd, then the variance of these gradients once more."""
    gate, projection = (value.clone().requires_grad_() for value in (study.gate, study.projection))
    masked = projection * gate
    losses = environment_losses(study.frozen, batch, masked, study.loss)
    gradients = torch.stack([torch.autograd.grad(loss, masked, create_graph=True)[0] for loss in losses])
    deviations = gradients - gradients.mean(dim=0)
    penalty = (gate.square() * deviations.square().sum(dim=(0, 1))).sum() / (len(losses) * len(projection))
    (on_projection,) = torch.autograd.grad(losses.mean(), projection, retain_graph=True)
    (on_gate,) = torch.autograd.grad(penalty, gate)
    return losses.mean().detach(), penalty.detach(), on_gate, on_projection


def once(study: Study, batch: EnvironmentBatch) -> Answer:
    """Takes the environments' gradients in closed form and differentiates their variance by one backward pass."""
    gate = study.gate.clone().requires_grad_()
    terms = environment_terms(study.frozen, batch, study.projection * gate, study.loss)
    penalty = PENALTIES["gv"](terms, gate)
    (on_gate,) = torch.autograd.grad(penalty, gate)
    _, on_projection = mean_risk_gradients(terms, study.projection, gate)
    return terms.losses.mean().detach(), penalty.detach(), on_gate, on_projection


def ours(study: Study, batch: EnvironmentBatch) -> Answer:
    """Takes second derivatives in closed form as well."""
    found = PenalizedBatch(study.frozen, batch, study.projection * study.gate, study.loss, PENALTIES["gv"])
    penalty, on_gate = found.estimate(study.gate, study.projection, RunningSquare("batch"))
    _, on_projection = mean_risk_gradients(found.terms, study.projection, study.gate)
    return found.terms.losses.mean(), torch.tensor(penalty), on_gate, on_projection


WAYS: dict[str, tuple[str, Callable[[Study, EnvironmentBatch], Answer]]] = {
    "a": ("(a) autograd twice", twice),
    "b": ("(b) gradients in closed form, autograd once", once),
    "c": ("(c) this package", ours),
}


def check_equality(study: Study) -> dict[str, float]:
    """Returns the largest difference of (b) and (c) from (a), relative to the largest entry.

    Raises:
        AssertionError: If one is above 1e-4.
    """
    batch = study.batch()
    expected, found = twice(study, batch), {}
    for key in ("b", "c"):
        for name, theirs, answer in zip(
            ("risk", "penalty", "gate", "projection"), expected, WAYS[key][1](study, batch), strict=True
        ):
            found[f"({key}) {name}"] = float((answer - theirs).abs().max() / theirs.abs().max())
    wrong = {name: value for name, value in found.items() if not value < 1e-4}
    assert not wrong, f"answers differ: {wrong}"
    return found


def times(study: Study, rounds: int, steps: int) -> dict[str, list[float]]:
    """Measures all ways in turns, after one round that does not count; milliseconds a step."""
    found: dict[str, list[float]] = {key: [] for key in WAYS}
    for _ in range(rounds + 1):
        for key, (_, way) in WAYS.items():
            start = time.process_time()
            for _ in range(steps):
                way(study, study.batch())
            found[key].append((time.process_time() - start) / steps * 1e3)
    return {key: values[1:] for key, values in found.items()}


def lines(name: str, found: dict[str, list[float]]) -> list[str]:
    """Returns the table's rows of one loss; ratios are medians of each round's ratio, which drifts hardly touch."""
    made = []
    for key, (label, _) in WAYS.items():
        ratio = statistics.median(theirs / own for own, theirs in zip(found["c"], found[key], strict=True))
        made.append(f"| {name} | {label} | {statistics.median(found[key]):.0f} | {ratio:.1f} |")
    return made


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=TIKTOK_SHAPE, help="users, items, interactions")
    parser.add_argument("--environments", type=int, default=10, help="environments")
    parser.add_argument("--batch-size", type=int, default=1024, help="interactions of each in a step")
    parser.add_argument("--candidates", type=int, default=256, help="items every interaction is compared with")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "results" / "mask_speed.md", help="Markdown table")
    parser.add_argument("--rounds", type=int, default=7, help="0 checks the equality only")
    parser.add_argument("--steps", type=int, default=3, help="steps of a measurement")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks, measures, prints and writes the table."""
    torch.set_num_threads(1)
    keep_freed_memory()
    options = parse(arguments)
    users, items, rows = options.shape
    text = [
        f"# Step of the mask search, simulated {users} x {items}",
        "",
        f"{options.environments} environments, {options.batch_size} interactions of each out of {rows} in all, "
        f"{options.candidates} candidates, penalty gv, one thread, medians of {options.rounds} rounds.",
        "",
        "| loss | step | CPU milliseconds | (c) is faster by |",
        "|---|---|---|---|",
    ]
    for name in LOSSES:
        one = study(name, options)
        for what, difference in check_equality(one).items():
            print(f"largest relative difference, {name} {what}: {difference:.1e}", flush=True)
        if options.rounds:
            text += lines(name, times(one, options.rounds, options.steps))
    if options.rounds:
        print("\n".join(text))
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
