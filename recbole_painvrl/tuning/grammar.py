"""Spaces as text, in RecBole's grammar: one line a parameter, ``name kind values``; nothing is evaluated.

    learning_rate loguniform -8,0          exp(-8) to exp(0): the bounds are natural logarithms
    id_dropout uniform 0,0.3               any number between
    embedding_size choice [32, 64, 128]    one of a list, as Python or YAML writes it
    reg_weight quniform 0,1,0.1            0, 0.1, 0.2 and so on: the multiples of the third number
    n_layers intrange 1,3                  1, 2, 3: ours, as RecBole has nothing for whole numbers but lists

A number sign that begins a line or follows a space begins a comment.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import yaml

from recbole_painvrl.config_keys import as_builtin, load_yaml
from recbole_painvrl.errors import UserError, nearest
from recbole_painvrl.tuning.space import Choice, Parameter, Space, Stepped, Uniform, Whole

_COMMENT = re.compile(r"(^|\s)#.*")
_MOST_OPTIONS = 10_000
_LOGARITHM = 700  # exp of more is no number


def read_space(file: str | Path) -> tuple[Space, str]:
    """Returns the space in a file, and the file's text; a byte-order mark before it is left out.

    Raises:
        UserError: The file cannot be read, or a line of it is not understood.
    """
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--params_file={file}: cannot be read ({reason}); expected a file like hyper.test") from error
    return parse_space(text, str(file)), text


def parse_space(text: str, name: str) -> Space:
    """Returns the space that ``text`` describes.

    Args:
        text: The lines.
        name: What they are called in messages.

    Raises:
        UserError: A line is not understood, a parameter is there twice, or there is none.
    """
    space: list[Parameter] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = _COMMENT.sub("", line).split(maxsplit=2)
        if not words:
            continue
        parameter = _parameter(words, f"{name}, line {number}")
        if parameter.name in lines:
            raise UserError(
                f"{name}, line {number}: {parameter.name} is there already, in line {lines[parameter.name]}; keep one"
            )
        lines[parameter.name] = number
        space.append(parameter)
    if not space:
        raise UserError(f"{name}: no parameter in it; expected lines such as 'n_layers choice [1, 2, 3]'")
    return space


def check_keys(space: Space, text: str, name: str, known: Collection[str], fixed: Collection[str]) -> None:
    """Makes sure that every parameter is a key that the model reads and that a search may change.

    Args:
        space: The space.
        text: Its lines.
        name: What they are called in messages.
        known: The keys that the model reads.
        fixed: Those of them that must be the same for all trials.

    Raises:
        UserError: One is not.
    """
    for parameter in space:
        if parameter.name not in known:
            raise UserError(
                f"{_place(parameter.name, text, name)}: the model has no key '{parameter.name}'."
                f"{nearest(parameter.name, known)}"
            )
        if parameter.name in fixed:
            raise UserError(
                f"{_place(parameter.name, text, name)}: {parameter.name} has to be the same for all trials, for their "
                "validation results could not be compared otherwise; leave the line out"
            )


def _place(key: str, text: str, name: str) -> str:
    lines = (number for number, line in enumerate(text.splitlines(), start=1) if line.split()[:1] == [key])
    return f"{name}, line {next(lines)}"


def _parameter(words: list[str], place: str) -> Parameter:
    if len(words) == 2 and words[1] in _KINDS:
        raise UserError(f"{place}: {words[0]} {words[1]} lacks its values; expected '{_KINDS[words[1]][0]}'")
    if len(words) < 3:
        raise UserError(f"{place}: found '{' '.join(words)}'; expected 'name kind values', the kind one of {_listed()}")
    name, kind, values = words
    if kind not in _KINDS:
        raise UserError(f"{place}: unknown kind '{kind}'; expected one of {_listed()}.{nearest(kind, _KINDS)}")
    example, build = _KINDS[kind]
    try:
        return build(name, values.strip())
    except ValueError as error:
        raise UserError(f"{place}: {name} {kind}: {error}; expected '{example}'") from None


def _listed() -> str:
    return ", ".join(_KINDS)


def _choice(name: str, text: str) -> Choice:
    options = _literal(text)
    if not isinstance(options, list | tuple) or not options:
        raise ValueError(f"'{text}' is no list of values")
    try:
        plain = tuple(None if one == "None" else as_builtin(one, name) for one in options)
    except UserError as error:
        raise ValueError(f"'{text}' holds what no key can be ({error})") from error
    if any(isinstance(one, float) and not math.isfinite(one) for one in plain):
        raise ValueError(f"'{text}' holds a number that is not finite")
    if any(one == other and type(one) is type(other) for i, one in enumerate(plain) for other in plain[:i]):
        raise ValueError(f"'{text}' names a value twice")
    return Choice(name, plain)


def _literal(text: str) -> Any:
    """Returns the value that Python would write like ``text``, or else YAML."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        raise ValueError(f"'{text}' cannot be read") from None


def _uniform(name: str, text: str) -> Uniform:
    low, high = _bounds(text, 2)
    return Uniform(name, low, high)


def _loguniform(name: str, text: str) -> Uniform:
    low, high = _bounds(text, 2)
    if max(abs(low), abs(high)) > _LOGARITHM:
        raise ValueError(f"the bounds are natural logarithms, and exp({high:g}) or exp({low:g}) is out of range")
    return Uniform(name, low, high, log=True)


def _quniform(name: str, text: str) -> Stepped:
    low, high, step = _bounds(text, 3)
    if step <= 0:
        raise ValueError(f"the step has to be above 0, but is {step:g}")
    if (high - low) / step > _MOST_OPTIONS:
        raise ValueError(f"more than {_MOST_OPTIONS} steps")
    parameter = Stepped(name, low, high, step)
    if not parameter.grid():
        raise ValueError(f"no multiple of {step:g} lies between {low:g} and {high:g}")
    return parameter


def _intrange(name: str, text: str) -> Whole:
    low, high = _bounds(text, 2)
    if not (low.is_integer() and high.is_integer()):
        raise ValueError(f"'{text}' are not whole numbers")
    if high - low > _MOST_OPTIONS:
        raise ValueError(f"more than {_MOST_OPTIONS} numbers")
    return Whole(name, int(low), int(high))


def _bounds(text: str, count: int) -> list[float]:
    """Returns ``count`` numbers separated by commas, of which the first is below the second."""
    parts = [part.strip() for part in text.split(",")]
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise ValueError(f"'{text}' are not {count} numbers") from None
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(f"'{text}' are not {count} numbers")
    if numbers[0] >= numbers[1]:
        raise ValueError(f"{parts[0]} is not below {parts[1]}")
    return numbers


_KINDS: dict[str, tuple[str, Callable[[str, str], Parameter]]] = {
    "choice": ("name choice [a, b, c]", _choice),
    "uniform": ("name uniform low,high", _uniform),
    "quniform": ("name quniform low,high,step", _quniform),
    "loguniform": ("name loguniform log(low),log(high), natural logarithms", _loguniform),
    "intrange": ("name intrange low,high", _intrange),
}
