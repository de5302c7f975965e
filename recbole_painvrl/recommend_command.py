"""The command ``recommend``: lists of the best items, or with ``--explain`` what their scores are made of."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Collection

from recbole_painvrl.errors import UserError

TOPK = 10
_QUOTED = "one with a comma in double quotes, as in '\"A,B\",C'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add = parser.add_argument
    add("run", metavar="RUN_FOLDER", help="a run's folder, or a model file")
    add("--users", "--user", metavar="A,B", help=f"users by their original tokens (default: all); {_QUOTED}")
    add("--topk", type=int, metavar="K", help=f"items a user (default {TOPK})")
    add("--explain", action="store_true", help="what each part of the score adds, and which past items share it")
    add("--items", "--item", metavar="A,B", help="with --explain: these items by their tokens, not the best ones")
    add("--output", metavar="FILE", help="write a file instead of printing: CSV, or JSON with --explain")


def run(flags: argparse.Namespace) -> None:
    """Prints or writes what the arguments ask for.

    Raises:
        UserError: The arguments contradict each other, a token is unknown, there is no model or it cannot be explained.
    """
    users, items = _tokens("--users", flags.users), _tokens("--items", flags.items)
    if flags.explain:
        _explain(flags, users, items)
    elif items:
        raise UserError("--items: names what --explain is to explain; add --explain, or leave --items out")
    else:
        _recommend(flags, users)


def _recommend(flags: argparse.Namespace, users: list[str] | None) -> None:
    from recbole_painvrl.recommend import as_csv, recommend, write_csv

    lists = recommend(flags.run, users, _topk(flags))
    _name_those_without(users, {one.user for one in lists})
    if flags.output:
        write_csv(lists, flags.output)
    else:
        print(as_csv(lists), end="")


def _explain(flags: argparse.Namespace, users: list[str] | None, items: list[str] | None) -> None:
    if not users:
        raise UserError("--explain: whose items? Name users by their original tokens, as --users=A,B")
    if items and flags.topk is not None:
        raise UserError("--topk and --items contradict each other; give one of them")
    from recbole_painvrl.explain import as_text, explain, write_json

    explanations = explain(flags.run, users, items, _topk(flags))
    _name_those_without(users, {one.user for one in explanations})
    if flags.output:
        write_json(explanations, flags.output)
    else:
        print(as_text(explanations), end="")


def _name_those_without(users: list[str] | None, served: Collection[str]) -> None:
    """Says of each user who was named but got nothing why; not on standard output, which may be read as CSV."""
    for user in dict.fromkeys(users or ()):
        if user not in served:
            print(f"user {user}: no unseen item is left; training and validation have all of them", file=sys.stderr)


def _topk(flags: argparse.Namespace) -> int:
    return TOPK if flags.topk is None else flags.topk


def _tokens(flag: str, text: str | None) -> list[str] | None:
    """Parts the tokens as a line of a CSV file, which is how :func:`recbole_painvrl.recommend.as_csv` writes them."""
    if text is None:
        return None
    if not text.strip():
        raise UserError(f"{flag}: there is nothing after it; name tokens, as in {flag}=A,B, or leave {flag} out")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        how = f"{_QUOTED}, and its own double quotes twice"
        raise UserError(f"{flag}: cannot part '{text}' at its commas ({error}); give tokens, {how}") from error
