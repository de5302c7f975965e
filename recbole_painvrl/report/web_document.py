"""A page for a browser that fetches nothing: its document, and tables that sort by a click on a heading.

The page's own policy lets no script run but the one below it; whoever fills it escapes what comes from records.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from html import escape

from recbole_painvrl.report.web_parts import SCRIPT, STYLE


def document(body: Sequence[str], title: str) -> str:
    """Returns the page with these parts."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style></head><body>",
    ]
    return "\n".join([*head, *body, f"<script>{SCRIPT}</script>", "</body></html>", ""])


def table(columns: Sequence[str], rows: Sequence[str], caption: str, texts: Collection[str] = ()) -> str:
    """Returns a table that sorts.

    Args:
        columns: The headings; ``test``, ``test_...`` and ``score`` sort the largest first at the first click.
        rows: The rows as HTML, of cells made by :func:`cell`.
        caption: What the table is.
        texts: The columns, beside the first, that hold texts.
    """
    heads = "".join(_head(name, name in texts) for name in columns)
    label = escape(caption)
    return (
        f'<div class="scroll"><table aria-label="{label}"><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{chr(10).join(rows)}</tbody></table></div>"
    )


def _head(name: str, is_text: bool) -> str:
    style = ' class="text"' if is_text else ""
    is_result = name in ("test", "score") or name.startswith("test_")  # the largest first at the first click
    down = " data-down" if is_result else ""
    button = f'<button type="button">{escape(name)}</button>'
    return f'<th scope="col" aria-sort="none"{style}{down}>{button}</th>'


def cell(text: str, value: str | float | None, inner: str | None = None, style: str = "") -> str:
    """Returns a cell that shows ``text``, or ``inner`` as it is, and sorts by ``value``."""
    name = f' class="{style}"' if style else ""
    key = "" if value is None else escape(str(value))
    return f'<td{name} data-value="{key}">{escape(text) if inner is None else inner}</td>'
