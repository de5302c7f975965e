"""The tables of finished comparisons for results/: leaderboards, PaInvRL's tests, and what tuning chose.

    python -m benchmarks.leaderboard runs/comparisons/HASH ... --metrics ndcg@10,recall@20 --output results/NAME.md

Of several comparisons of the same models, such as one with ``--tune`` and one without, validation chooses one
configuration a model and data set. NAME.md has the first metric, NAME-more.md the others and what tuning chose. It
reads records alone, as ``recbole-painvrl report`` does, whose page has the pictures and all metrics.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from recbole_painvrl.files import atomic_file
from recbole_painvrl.report.cells import COMPARISON, find
from recbole_painvrl.report.content import Report
from recbole_painvrl.report.leaderboard import Leaderboard
from recbole_painvrl.report.page import PRICES_NOTE, prices_table, safe, tests_table, value
from recbole_painvrl.report.runs import configurations
from recbole_painvrl.report.selection import RULES, select
from recbole_painvrl.report.sheet import Sheet
from recbole_painvrl.report.table import markdown_table

OURS = "PaInvRL"
Record = dict[str, Any]  # of comparison.json
ABOUT = (
    "Means ± standard deviations over seeds; validation alone chose epochs, rho and keys (shipped: the package's "
    "defaults). Bold is the best on a test set; † does not differ from it significantly (two-sided paired t-test, "
    "Holm-corrected over the table, level 0.05), ‡ could not be tested. Gap: `test` less that set."
)
LEFT_OUT = ("peak MB", "worst ")  # one process shares its peak; groups are recorded at one rho only


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparisons", type=Path, nargs="+")
    parser.add_argument("--metrics", default="ndcg@10,recall@20")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def command_line(comparison: Record) -> str:
    """Returns the command that makes the comparison."""
    made = comparison["command"]
    words = [f"--model={','.join(made['models'])}", f"--dataset={','.join(made['datasets'])}"]
    words += [f"--seeds={','.join(map(str, made['seeds']))}"]
    words += [f"--tune={made['tune']}"] if made["tune"] else []
    words += [f"--config_files={' '.join(made['config_files'])}"] if made["config_files"] else []
    words += [f"--{key}={value}" for key, value in made["keys"].items() if key != "show_progress"]
    return shlex.join(["python", "run_recbole_painvrl.py", *words])


def tuning_table(comparisons: list[Record], board: Leaderboard) -> str:
    """Returns budget, validation score and choice of every model of a leaderboard."""
    runs = {choice.run.path.resolve(): choice.run for line in board.lines for choice in line.choices}
    comparisons = [one for one in comparisons if not runs.keys().isdisjoint(map(Path.resolve, cell_folders(one)))]
    dataset = next(iter(runs.values())).result["dataset"]  # without a protocol
    rows = [
        [one["model"], str(one["trials"]), f"{one['score']:.4f}", values(one["parameters"])]
        for comparison in comparisons
        for one in comparison["tuned"]
        if one["dataset"] == dataset and one["score"] is not None
    ]
    return (
        markdown_table(["model", "trials", "validation", "best trial (space in properties/search)"], rows)
        if rows
        else ""
    )


def values(parameters: dict[str, Any]) -> str:
    """Returns hyper-parameters as text."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in parameters.items()
    )


def board_table(board: Leaderboard, tuned: set[Path]) -> str:
    """Returns a leaderboard with where each model's chosen configuration comes from."""
    columns = [name for name in board.columns if not name.startswith(LEFT_OUT)]
    rows = []
    for line in board.chosen:
        keys = "best trial" if line.choices[0].run.path.resolve() in tuned else "shipped"
        name = safe(line.selected.configuration.model)
        rows.append([name, keys, *line.first_cells, *(value(line.cells[column]) for column in columns)])
    rows += [[safe(one.model), "", "0", "-", safe(one.reason), *[""] * (len(columns) - 1)] for one in board.failures]
    return markdown_table(["model", "keys", "runs", "rho", *columns], rows)


def without_keys(table: str, board: Leaderboard) -> str:
    """Returns a table whose models are named without their keys: each has one configuration on the leaderboard."""
    for line in board.chosen:
        table = table.replace(safe(line.name), safe(line.selected.configuration.model))
    return table


def read(folders: list[Path], metrics: list[str]) -> tuple[list[Record], Report]:
    """Returns what is written of the comparisons, and their leaderboards."""
    comparisons = [json.loads((folder / COMPARISON).read_text(encoding="utf-8")) for folder in folders]
    found = find([str(folder) for folder in folders])
    rule = RULES["iid_validation"]
    selected = select(configurations(found.runs), rule)
    return comparisons, Report(Sheet(folders[0], rule, False), selected, metrics, OURS, found.failures)


def tuned_runs(comparisons: list[Record]) -> set[Path]:
    """Returns the folders of runs whose keys a search chose."""
    return {folder.resolve() for one in comparisons if one["tuned"] for folder in cell_folders(one)}


def cell_folders(comparison: Record) -> list[Path]:
    """Returns the folders of a comparison's runs."""
    return [Path(cell["folder"]) for cell in comparison["cells"]]


def head(comparisons: list[Record]) -> list[str]:
    """Returns what stands above the tables."""
    lines = ["# Side by side", "", "```bash", *map(command_line, comparisons), "```", ""]
    cells = [cell for one in comparisons for cell in one["cells"]]
    unfinished = sum(cell["state"] != "done" for cell in cells)
    return lines + ([f"{unfinished} of {len(cells)} runs are not finished.", ""] if unfinished else []) + [ABOUT, ""]


def page(comparisons: list[Record], report: Report, first: bool) -> str:
    """Returns the first metric's leaderboards with PaInvRL's tests, or the others with what tuning chose."""
    lines, tuned = head(comparisons), tuned_runs(comparisons)
    for dataset, boards in report.boards.items():
        for board in boards[:1] if first else boards[1:]:
            lines += [f"## {dataset}, {board.metric}", "", board_table(board, tuned), ""]
        if first:
            tests = without_keys(tests_table(boards[0], OURS), boards[0])
            lines += [f"## {dataset}: {OURS} less its references", "", tests, ""]
            offers = without_keys(prices_table(report.prices[dataset][0], boards[0].metric), boards[0])
            lines += [f"## {dataset}: the price list", "", PRICES_NOTE, "", offers, ""] if offers else []
        elif tuned:
            lines += [f"## {dataset}: what tuning chose", "", tuning_table(comparisons, boards[0]), ""]
    return "\n".join(lines).strip() + "\n"


def main() -> None:
    """Writes the tables."""
    given = arguments()
    comparisons, report = read(given.comparisons, [name.strip().lower() for name in given.metrics.split(",")])
    more = given.output.with_name(f"{given.output.stem}-more.md")
    for path in (given.output, more):
        with atomic_file(path) as file:
            file.write(page(comparisons, report, path is given.output).encode())
        print(path)


if __name__ == "__main__":
    main()
