"""README's tables are those of results/."""

from __future__ import annotations

from benchmarks.readme import PLACE, ROOT, by_section, filled, tables

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_shows_the_tables_of_results() -> None:
    assert len(PLACE.findall(README)) > 3
    assert filled(README) == README, "run `python -m benchmarks.readme`"


def test_sections_become_bold_lines_and_the_rest_is_left_out() -> None:
    text = "# Title\n\nSeeds.\n\n## one\n\n| a |\n| - |\n\n## two\n\n| b |\n"
    assert tables(text) == "**one**\n\n| a |\n| - |\n\n**two**\n\n| b |"
    assert tables("# Title\n\n| a |\n| - |\n") == "| a |\n| - |"


def test_sections_become_lines_of_one_table() -> None:
    header, other = "|  | test | p | ood | p | seconds |", "|  | test | p | seconds |"
    one = f"# T\n\n## time\n\n{header}\n| --- |\n| A | 1 |  | 2 |  | 9 |\n| B | 3 | 0.5 | 4 | 0.1 | 9 |\n"
    two = f"\n## none\n\n{other}\n| --- |\n| A | 5 |  | 9 |\n| B | 6 | 0.2 | 9 |\n"
    assert by_section(one + two).splitlines() == [
        "|  |  | A | B |",
        "| --- | --- | --- | --- |",
        "| time | test | 1 | 3 (0.5) |",
        "| time | ood | 2 | 4 (0.1) |",
        "| none | test | 5 | 6 (0.2) |",
    ]
