"""README's tables are those of results/."""

from __future__ import annotations

from benchmarks.readme import PLACE, ROOT, filled, tables

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_shows_the_tables_of_results() -> None:
    assert len(PLACE.findall(README)) > 3
    assert filled(README) == README, "run `python -m benchmarks.readme`"


def test_sections_become_bold_lines_and_the_rest_is_left_out() -> None:
    text = "# Title\n\nSeeds.\n\n## one\n\n| a |\n| - |\n\n## two\n\n| b |\n"
    assert tables(text) == "**one**\n\n| a |\n| - |\n\n**two**\n\n| b |"
    assert tables("# Title\n\n| a |\n| - |\n") == "| a |\n| - |"
