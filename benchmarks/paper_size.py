"""Peak memory and seconds of PaInvRL, from its data to its results, on simulated data of the papers' shapes.

    python -m benchmarks.paper_size --scales movielens,tiktok,kwai,10m --output results/paper_size.md

Each run is a process of its own; its peak is what the kernel reports when it ends (``ru_maxrss``). With ``--divide=10``
users, items and interactions are a tenth, to try it out; data that are there already have to be of the sizes that are
asked for. The allowance is what a process holds that has only imported what a run imports (torch's compiler among it,
which every torch optimizer brings), plus the feature matrices once in single precision, plus 2.5 times the parameters
with Adam's two moments. Sessions are what is assigned to environments, and items without interactions are ranked by
their content, unless ``--set`` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.command_line import add_keys, given_keys, write
from benchmarks.many_runs import markdown
from recbole_painvrl.report.records import plain
from recbole_painvrl.simulate.scales import SCALES, Scale, scale_with

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = [sys.executable, str(ROOT / "run_recbole_painvrl.py")]
IMPORTS = "import recbole_painvrl.quick_start, recbole_painvrl.trainer.painvrl_trainer, torch._dynamo"
BASE = [sys.executable, "-c", IMPORTS]
# The kernel counts what a process was before it became another program: a large parent must not start it itself.
LAUNCHER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=sys.stderr)
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
MOMENTS, ALLOWED, SINGLE = 3, 2.5, 4
# A softmax over all items costs users x items; candidates shared by a step cost interactions x candidates / batch.
# Both ends of the trade-off curve: each of its points is an evaluation of every set.
COMMON = {"rec_loss": "softmax", "n_environments": 3, "n_rounds": 1, "variant_weights": "[0,1]", "env_level": "session",
          "new_items": "content"}  # fmt: skip
# All items for each of 500,000 users are 100,000,000,000 scores an evaluation. A drawn candidate takes more memory than
# one of all items, so that fewer of them are scored at once.
LARGEST = {"warmup_epochs": 1, "epochs": 2, "n_negatives": 2048, "train_batch_size": 8192,
           "eval_args": "{mode: uni100}", "eval_batch_size": 2**20}  # fmt: skip
# Beside few parameters the scores of a step and the wide rows of a mask's step are what memory goes into.
OTHERS = {"warmup_epochs": 2, "epochs": 4, "n_negatives": 512, "train_batch_size": 2048, "mask_batch_size": 256}
HEADER = ("scale", "users", "items", "interactions", "features MB", "parameters MB", "data s", "run s",
          "peak making data MB", "peak MB", "allowed MB", "peak / allowed", "test NDCG@20")  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """Wall seconds and peak resident bytes of a process."""

    seconds: float
    peak: int


def measured(command: list[str], log: Path) -> Measured:
    """Runs a command to its end and measures it.

    Raises:
        SystemExit: It failed.
    """
    started = time.perf_counter()
    with log.open("ab") as file:
        launcher = [sys.executable, "-S", "-c", LAUNCHER, *command]
        told = subprocess.run(launcher, cwd=ROOT, stdout=subprocess.PIPE, stderr=file, text=True, check=False).stdout
    status, peak = map(int, told.split())
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}; see {log}")
    return Measured(time.perf_counter() - started, peak * (1 if sys.platform == "darwin" else 1024))


def check_made(folder: Path, asked: Scale) -> None:
    """Makes sure that the data in a folder, of an earlier command perhaps, are of the sizes that are asked for.

    Raises:
        SystemExit: They are not, or nothing says so; the folder may be somebody's and is left as it is.
    """
    try:
        found = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["constants"]
        others = [
            f"{key} {found.get(key)}, not {value}"
            for key, value in plain(asdict(asked)).items()
            if found.get(key) != value
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        others = ["no readable recipe.json"]
    if others:
        raise SystemExit(f"{folder} holds other data ({'; '.join(others)}); delete it, or name another --folder")


def row(scale: str, given: argparse.Namespace, base: int) -> list[str]:
    """Makes the data, trains on them, and returns the line of the table."""
    chosen, folder = SCALES[scale], given.folder / f"scale-{scale}"
    shape = {"users": chosen.users // given.divide, "items": chosen.items // given.divide} if given.divide > 1 else {}
    log = given.folder / f"scale-{scale}.log"
    made = None
    if not folder.exists():
        words = [f"--{key}={value}" for key, value in shape.items()]
        made = measured([*PROGRAM, "simulate", f"--scale={scale}", f"--data_path={given.folder}", *words], log)
    check_made(folder, scale_with(scale, shape))
    output = given.folder / f"scale-{scale}.runs"
    shutil.rmtree(output, ignore_errors=True)
    settings: dict[str, Any] = {**COMMON, **(LARGEST if scale == "10m" else OTHERS)}
    settings["load_col"] = "{inter: [user_id, item_id, session_id], item: [item_id]}"
    settings |= {"data_path": given.folder, "output_dir": output, "show_progress": False}
    settings |= given_keys(given)
    words = [f"--{key}={value}" for key, value in settings.items()]
    run = measured([*PROGRAM, "--model=PaInvRL", f"--dataset=scale-{scale}", *words], log)
    result = json.loads(next(output.rglob("result.json")).read_text())
    made_by = json.loads((folder / "recipe.json").read_text())["constants"]
    columns = sum(made_by["widths"].values()) + (128 if made_by["words"] else 0)
    features = (made_by["items"] + 1) * columns * SINGLE
    parameters = result["n_parameters"] * SINGLE
    allowed = base + features + ALLOWED * MOMENTS * parameters
    sizes = [f"{value / 1e6:,.0f}" for value in (features, parameters)]
    seconds = [f"{made.seconds:.0f}" if made else "", f"{run.seconds:.0f}"]
    peaks = [f"{made.peak / 1e6:,.0f}" if made else "", *(f"{value / 1e6:,.0f}" for value in (run.peak, allowed))]
    counts = [f"{made_by[key]:,}" for key in ("users", "items", "interactions")]
    score = result["test_results"]["test"]["ndcg@20"]
    return [scale, *counts, *sizes, *seconds, *peaks, f"{run.peak / allowed:.2f}", f"{score:.4f}"]


def main() -> None:
    """Runs the scales and writes the table, after each of them anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", default=",".join(SCALES), help="comma-separated")
    parser.add_argument("--divide", type=int, default=1, metavar="N", help="an N-th of users and items")
    parser.add_argument("--folder", type=Path, default=ROOT / "dataset", help="where data and runs are kept")
    add_keys(parser)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    given.folder.mkdir(parents=True, exist_ok=True)
    base = measured(BASE, given.folder / "scale-base.log").peak
    common, others, largest = (
        " ".join(f"{key}={value}" for key, value in keys.items()) for keys in (COMMON, OTHERS, LARGEST)
    )
    size = f"1/{given.divide} of the users and items. " if given.divide > 1 else ""
    head = (
        f"# Paper-size data\n\n{size}PaInvRL with {common} {others} {' '.join(given.set)} (10m: {largest}: each "
        "positive ranks among 100 drawn candidates instead of all items). A process that has "
        f"only imported what a run does holds {base / 1e6:,.0f} MB; allowed: that, the features once and 2.5 times the "
        "parameters with Adam's moments. Wall seconds on a machine with other work.\n\n"
    )
    rows = []
    for scale in given.scales.split(","):
        rows.append(row(scale, given, base))
        write(given.output, head + markdown(HEADER, rows))
    print(given.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
