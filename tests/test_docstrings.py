"""What ruff's docstring rules leave open: Args name the parameters, Raises names what is raised."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "recbole_painvrl"
FILES = sorted(PACKAGE.rglob("*.py"))
ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?: ?\S")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def entries(docstring: str, section: str) -> list[str] | None:
    """Returns the names that a section of a docstring describes; None if it has no such section."""
    lines = iter(docstring.splitlines())
    if not any(line.strip() == f"{section}:" for line in lines):
        return None
    found: list[str] = []
    indent = None
    for line in lines:
        if not line.strip():
            continue
        width = len(line) - len(line.lstrip())
        indent = width if indent is None else indent
        if width < indent:
            break
        match = ENTRY.match(line.strip()) if width == indent else None
        if match:
            found += [name.lstrip("*") for name in match[1].split(", ")]
    return found


def parameters(function: Function) -> list[str]:
    """Returns the names of its parameters but for ``self`` and ``cls``."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    names += [one.arg for one in (given.vararg, given.kwarg) if one]
    return [name for name in names if name not in ("self", "cls")]


def raised(function: Function) -> set[str]:
    """Returns the names of the errors that its own body raises."""
    own: set[str] = set()
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            own.add(ast.unparse(node.exc.func).split(".")[-1])
        todo += ast.iter_child_nodes(node)
    return own


def public(tree: ast.Module) -> Iterator[tuple[str, Function, str]]:
    """Yields name, node and docstring of every public function and method."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef) or getattr(node, "name", "").startswith("_"):
            continue
        for one in node.body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and not one.name.startswith("_"):
                yield f"{getattr(node, 'name', '')}.{one.name}".lstrip("."), one, ast.get_docstring(one) or ""


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_docstrings_name_what_is_there(path: Path) -> None:
    wrong = []
    for name, function, docstring in public(ast.parse(path.read_text(encoding="utf-8"))):
        described = entries(docstring, "Args")
        if described is not None and described != parameters(function):
            wrong.append(f"{name}: Args {described}, parameters {parameters(function)}")
        missing = (raised(function) & {"UserError", "Busy", "ValueError"}) - set(entries(docstring, "Raises") or ())
        wrong += [f"{name}: raises {error}, which its docstring does not say" for error in sorted(missing)]
    assert not wrong


def test_the_checker_sees_what_is_wrong() -> None:
    source = '''
def told(first, *rest):
    """Says.

    Args:
        first: One.
            More: of it.
        rest: Others.

    Raises:
        UserError: Always.
    """
    raise UserError("x")
'''
    ((name, function, docstring),) = public(ast.parse(source))
    assert name == "told" and entries(docstring, "Args") == parameters(function) == ["first", "rest"]
    assert raised(function) == {"UserError"} == set(entries(docstring, "Raises") or ())
    assert entries("Says.", "Args") is None
