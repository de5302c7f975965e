"""The front between mean risk and invariance penalty on simulated data, and where the Pareto weights end.

Run ``python benchmarks/pareto_front.py``. Masks are found with fixed weights of the penalty over many decades, which
draws the front, and with each normalizer of the common descent direction (MGDA). Every mask is judged alike: its
projection is trained anew to the least risk, on all interactions and items and without noise, and risk (``erm``) and
penalty (``irm``) are those there. Columns of ``results/pareto_front.csv``: erm, irm, weight (of the penalty, in the
last step for MGDA), kind (``fixed`` or the normalizer), stationarity and cosine of the last step's two gradients.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from recbole_painvrl.files import atomic_file
from recbole_painvrl.invariance import (
    PENALTIES,
    EnvironmentSampler,
    MaskResult,
    MaskSettings,
    ParetoSettings,
    SoftmaxLoss,
    draw_candidates,
    environment_terms,
    generate_mask,
    mean_risk_gradients,
    score_unit,
)
from tests.invariance.pretrained import Study, study

REPOSITORY = Path(__file__).resolve().parent.parent
WEIGHTS = (0.0, 100.0, 300.0, 1e3, 2e3, 3e3, 1e4, 3e4, 1e5)
NORMALIZERS = ("l2", "none", "loss")
Row = dict[str, float | str]


def judged(data: Study, mask: Tensor, settings: MaskSettings, steps: int = 60) -> tuple[float, float]:
    """Returns risk and penalty of a mask [D], its projection trained anew on everything."""
    frozen = data.frozen.folded()
    unit = score_unit(frozen)
    frozen, source = replace(frozen, user_feature=unit * frozen.user_feature), torch.Generator()
    batch = EnvironmentSampler(data.labels, int(data.labels.max()) + 1, None, source).batch(
        data.interactions, draw_candidates(frozen.n_items, None, source, mask.device), mask.dtype
    )
    projection = mask.new_zeros(frozen.user_feature.shape[1], len(mask))
    optimizer = torch.optim.Adam([projection], lr=0.05)
    decay = 2 * settings.weight_decay / projection.numel()
    for _ in range(steps):
        terms = environment_terms(frozen, batch, projection * mask, SoftmaxLoss())
        projection.grad = mean_risk_gradients(terms, projection, mask)[1] + decay * projection
        optimizer.step()
    terms = environment_terms(frozen, batch, projection * mask, SoftmaxLoss())
    return float(terms.losses.mean()), float(PENALTIES[settings.penalty](terms, mask))


def found(data: Study, pareto: ParetoSettings, settings: MaskSettings) -> MaskResult:
    """Returns the mask found with this way to weigh the two gradients."""
    chosen, source = replace(settings, pareto=pareto), torch.Generator().manual_seed(1)
    return generate_mask(data.frozen, data.interactions, data.labels, SoftmaxLoss(), source, chosen)


def points(data: Study, settings: MaskSettings, weights: Sequence[float], kinds: Sequence[str]) -> Iterator[Row]:
    """Yields a row for each fixed weight and for each normalizer."""
    ways = [("fixed", ParetoSettings(solver="fixed", irm_weight=weight)) for weight in weights]
    ways += [(kind, ParetoSettings(normalize=kind)) for kind in kinds]
    for kind, pareto in ways:
        result = found(data, pareto, settings)
        erm, irm = judged(data, result.mask, settings)
        last = result.history[-1]
        weight = pareto.irm_weight if kind == "fixed" else last["weight"]
        ends = {name: last[name] for name in ("stationarity", "cosine")}
        yield {"erm": erm, "irm": irm, "weight": weight, "kind": kind, **ends}


def above_front(rows: Sequence[Row], kind: str) -> float:
    """Returns how far a normalizer's risk lies above the fixed weights' front at its penalty.

    The front is the lower convex hull of the fixed weights' points, so that a mixture of two of them counts too;
    positive is worse, in units of the front's range of risk.
    """
    fixed = sorted((float(row["irm"]), float(row["erm"])) for row in rows if row["kind"] == "fixed")
    (point,) = [(float(row["irm"]), float(row["erm"])) for row in rows if row["kind"] == kind]
    least = min(erm for _, erm in fixed)
    heights = [erm for irm, erm in fixed if irm <= point[0]]
    for left in fixed:
        for right in fixed:
            if left[0] <= point[0] < right[0]:
                share = (point[0] - left[0]) / (right[0] - left[0])
                heights.append((1 - share) * left[1] + share * right[1])
    if not heights:
        return -float("inf")  # nothing fixed has so small a penalty
    return (point[1] - min(heights)) / max(max(erm for _, erm in fixed) - least, 1e-12)


def text(rows: Sequence[Row]) -> str:
    """Returns the rows as CSV."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="R1", help="simulated data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "results" / "pareto_front.csv")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints and writes the table."""
    torch.set_num_threads(1)
    options = parse(arguments)
    rows: list[Row] = []
    for row in points(study(options.recipe, options.seed), MaskSettings(), WEIGHTS, NORMALIZERS):
        rows.append(row)
        print(row, flush=True)
    for kind in NORMALIZERS:
        print(f"{kind}: {above_front(rows, kind):+.3f} of the front's range of risk above it")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(options.output) as file:
        file.write(text(rows).encode())


if __name__ == "__main__":
    main()
