"""Style and script of the report's page: small, inside the page, nothing fetched."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --quiet: #595959; --line: #d0d0d0;
  --shade: #f3f5f7; --link: #005a94; --bad: #a33c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --quiet: #a8adb3; --line: #3a3f45;
  --shade: #212529; --link: #7cc4f5; --bad: #ff9d66; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 90rem; padding: 1rem 1.5rem 4rem; }
a { color: var(--link); }
h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem; }
.scroll { overflow-x: auto; padding-bottom: 0.3rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: 0.3rem 0.5rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
thead th { background: var(--shade); border-bottom: 2px solid var(--quiet); }
thead button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer; }
thead button:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--link);
  outline-offset: 2px; }
th[aria-sort] button::after { content: " \\2195"; color: var(--quiet); }
th[aria-sort="ascending"] button::after { content: " \\2191"; color: inherit; }
th[aria-sort="descending"] button::after { content: " \\2193"; color: inherit; }
tbody tr:hover { background: var(--shade); }
tr.rest td { color: var(--quiet); }
tr.failed td { color: var(--bad); text-align: left; }
td details summary { cursor: pointer; list-style: none; }
td details summary::-webkit-details-marker { display: none; }
td details summary:hover { text-decoration: underline dotted; }
td details ul { margin: 0.2rem 0 0; padding: 0; list-style: none; font-size: 12px; font-weight: 400; }
.best { font-weight: 700; }
.quiet { color: var(--quiet); }
.warning { color: var(--bad); font-weight: 700; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
figcaption { max-width: 60rem; color: var(--quiet); font-size: 14px; }
figcaption b { color: var(--ink); }
@media print { :root { --ink: #000; --paper: #fff; --quiet: #444; --line: #bbb; --shade: #fff; --link: #000;
  --bad: #000; } body { max-width: none; padding: 0; font-size: 10px; } table { font-size: 8px; }
  th, td { padding: 1px 3px; } .scroll { overflow: visible; } td details ul { display: none; }
  th[aria-sort] button::after { content: none; } figure, tr { break-inside: avoid; } nav { display: none; } }
"""

SCRIPT = """
(function () {
  "use strict";
  function key(row, column) {
    var text = row.cells[column] ? row.cells[column].getAttribute("data-value") : "";
    return text === null ? "" : text;
  }
  function compare(a, b, down) {
    if (a === "" || b === "") { return (a === "") - (b === ""); }
    var x = Number(a), y = Number(b);
    var order = isNaN(x) || isNaN(y) ? a.localeCompare(b) : x - y;
    return down ? -order : order;
  }
  function sort(button) {
    var head = button.parentNode, table = head.closest("table"), body = table.tBodies[0];
    var down = head.getAttribute("aria-sort") === "none" ? head.hasAttribute("data-down")
      : head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach(function (one) { one.setAttribute("aria-sort", "none"); });
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    var rows = Array.prototype.slice.call(body.rows);
    rows.sort(function (a, b) {
      var last = a.classList.contains("failed") - b.classList.contains("failed");
      return last || compare(key(a, head.cellIndex), key(b, head.cellIndex), down);
    });
    rows.forEach(function (row) { body.appendChild(row); });
  }
  document.querySelectorAll("th button").forEach(function (button) {
    button.addEventListener("click", function () { sort(button); });
  });
})();
"""
