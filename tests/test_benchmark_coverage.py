"""The coverage table: counts by package, shares, and what has to stay high."""

from __future__ import annotations

from benchmarks.coverage import HELD, PACKAGE, by_package, shares, table


def summary(lines: int, statements: int, branches: int = 0, ways: int = 0) -> dict[str, dict[str, int]]:
    counts = {"covered_lines": lines, "num_statements": statements, "covered_branches": branches, "num_branches": ways}
    return {"summary": counts}


def test_counts_are_summed_by_package() -> None:
    files = {
        f"{PACKAGE}/data/splits/items.py": summary(8, 10, 1, 4),
        f"{PACKAGE}/data/dataset.py": summary(10, 10, 3, 4),
        f"{PACKAGE}/cli.py": summary(1, 4),
    }
    counts = by_package(files)
    assert set(counts) == {"data", "."}
    assert shares(counts["data"]) == (90.0, 50.0)
    assert shares(counts["."]) == (25.0, 100.0)
    lines = table(counts).splitlines()
    assert lines[-3:] == [
        "| . | 4 | 25.0 % | 0 | 100.0 % |",
        "| **data** | 20 | 90.0 % | 8 | 50.0 % |",
        "| all | 24 | 79.2 % | 8 | 50.0 % |",
    ]
    assert {"data"} <= set(HELD)
