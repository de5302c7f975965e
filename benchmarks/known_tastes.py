"""What can be had at all on simulated data: rankings by the true tastes, as far as each trusts the spurious one.

    python -m benchmarks.known_tastes --recipes r1,r2,rb --seeds 1,2,3,4,5 --output results/known-tastes.md

Items are ranked by ``a f + t c + popularity`` with the tastes that made the data. No recommender has them: the
table says what a shift costs one that knows all but which environment it will meet. Factors are of the row whose IID
result is best.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.command_line import write
from benchmarks.many_runs import markdown
from recbole_painvrl.simulate import RECIPES, Simulated, generate
from recbole_painvrl.simulate.generator import draw_tastes

TRUST = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
CUTOFF = 10


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="r1,r2,rb", help="comma-separated")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="comma-separated")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def pairs(data: Simulated, *names: str) -> np.ndarray:
    """Returns which user has which item in the sets ``names``, bool [U, I]."""
    chosen = np.isin(data.sets, [data.set_names.index(name) for name in names])
    table = np.zeros((data.recipe.users, data.recipe.items), bool)
    table[data.users[chosen], data.items[chosen]] = True
    return table


def ndcg(scores: np.ndarray, hidden: np.ndarray, positive: np.ndarray) -> float:
    """Returns the mean NDCG@10 over the users of scores [U, I] without the hidden items."""
    top = np.argsort(-np.where(hidden, -np.inf, scores), axis=1)[:, :CUTOFF]
    gain = 1 / np.log2(np.arange(CUTOFF) + 2)
    ideal = np.cumsum(gain)[np.minimum(positive.sum(1), CUTOFF) - 1]
    return float((np.take_along_axis(positive, top, 1) @ gain / ideal).mean())


def curve(recipe: str, seed: int) -> np.ndarray:
    """Returns the NDCG@10 on both test sets for each trust in the spurious taste, [T, 2]."""
    data = generate(RECIPES[recipe], seed)
    _, tastes = draw_tastes(np.random.default_rng(seed), data.recipe, seed)
    hidden = pairs(data, "train", "valid")
    users = np.arange(data.recipe.users)
    scores = [tastes.utility(users, data.recipe, trust) for trust in TRUST]
    return np.array([[ndcg(s, hidden, pairs(data, name)) for name in ("test", "test_ood")] for s in scores])


def main() -> None:
    """Writes the table."""
    given = arguments()
    seeds, rows = [int(seed) for seed in given.seeds.split(",")], []
    for recipe in given.recipes.split(","):
        found = np.mean([curve(recipe, seed) for seed in seeds], axis=0)
        best = found[found[:, 0].argmax()]
        for trust, row in zip(TRUST, found, strict=True):
            cells = [(f"{value:.4f}", f"{value / top:.2f}") for value, top in zip(row, best, strict=True)]
            rows.append([recipe, f"{trust:g}", *cells[0], *cells[1]])
    header = ["recipe", "t", "IID NDCG@10", "x best", "OOD NDCG@10", "x its"]
    text = f"# Ranking by the true tastes\n\nSeeds {given.seeds}: means. t: trust in the spurious taste.\n\n"
    write(given.output, text + markdown(header, rows))
    print(given.output.read_text())


if __name__ == "__main__":
    main()
