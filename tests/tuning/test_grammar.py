"""Lines of hyper.test: what they mean, as RecBole reads them, and what is said of those that mean nothing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from recbole_painvrl.config_keys import general_keys
from recbole_painvrl.errors import UserError
from recbole_painvrl.quick_start import configure
from recbole_painvrl.tuning.grammar import check_keys, parse_space, read_space
from recbole_painvrl.tuning.plan import FIXED_KEYS
from recbole_painvrl.tuning.space import Choice, Stepped, Uniform, Whole

ROOT = Path(__file__).resolve().parents[2]


def test_every_kind_of_line() -> None:
    text = """
    # the recommender
    learning_rate loguniform -8,0   # natural logarithms
    a uniform -0.5, 1e-1

    b\tquniform 0,1,0.25
    c intrange 1,3
    d choice [1, 2.5, 'x', None, True]
    """
    assert parse_space(text, "x") == [
        Uniform("learning_rate", -8.0, 0.0, log=True),
        Uniform("a", -0.5, 0.1),
        Stepped("b", 0.0, 1.0, 0.25),
        Whole("c", 1, 3),
        Choice("d", (1, 2.5, "x", None, True)),
    ]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("[0.1,0.01]", (0.1, 0.01)),
        ("[mf, lightgcn]", ("mf", "lightgcn")),  # YAML
        ("[~, 1e-4]", (None, 1e-4)),
        ("['[64,32]', '[32]']", ("[64,32]", "[32]")),  # RecBole's way to write lists
        ("[[64, 32], [32]]", ([64, 32], [32])),
        ("((1, 2), (3, 4))", ([1, 2], [3, 4])),
        ("['a#b']", ("a#b",)),
        ("[2*3, abs(1)]", ("2*3", "abs(1)")),  # nothing is evaluated
        ("[{}, {'visual': {'source': 'npy'}}]", ({}, {"visual": {"source": "npy"}})),
        ("[1, True]", (1, True)),
    ],
)
def test_lists_are_read_as_python_or_yaml_writes_them(text: str, options: tuple) -> None:
    (parameter,) = parse_space(f"key choice {text}", "x")
    assert parameter == Choice("key", options)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a", "found 'a'; expected 'name kind values', the kind one of choice, uniform"),
        ("a choice", "a choice lacks its values; expected 'name choice "),
        ("a unifrom 0,1", "unknown kind 'unifrom'; expected one of choice, .* Did you mean 'uniform'?"),
        ("a choice 3", "'3' is no list of values"),
        ("a choice []", "is no list of values"),
        ("a choice [1,", "cannot be read; expected 'name choice"),
        ("a choice [1, 1]", "names a value twice"),
        ("a uniform 1,0", "1 is not below 0"),
        ("a uniform 0", "'0' are not 2 numbers"),
        ("a uniform 0,inf", "are not 2 numbers"),
        ("a uniform low,high", "'low,high' are not 2 numbers; expected 'name uniform low,high'"),
        ("a loguniform 0,1000", "the bounds are natural logarithms"),
        ("a quniform 0,1", "are not 3 numbers"),
        ("a quniform 0,1,-1", "the step has to be above 0"),
        ("a quniform 0,1,1e-9", "more than 10000 steps"),
        ("a quniform 0.3,0.4,0.25", "no multiple of 0.25 lies between"),
        ("a intrange 0.5,2", "are not whole numbers"),
        ("a intrange 0,1e6", "more than 10000 numbers"),
    ],
)
def test_a_mistake_is_told_with_its_line(line: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        parse_space(f"# comment\n\n{line}\n", "hyper.test")
    assert str(caught.value).startswith("hyper.test, line 3: ")


def test_a_parameter_is_there_once_and_at_least_one_is() -> None:
    with pytest.raises(UserError, match="x, line 3: a is there already, in line 1"):
        parse_space("a uniform 0,1\n\na choice [1]", "x")
    with pytest.raises(UserError, match="x: no parameter in it"):
        parse_space("# nothing\n", "x")
    with pytest.raises(UserError, match="--params_file=nowhere: cannot be read"):
        read_space("nowhere")


def test_keys_are_those_that_the_model_reads() -> None:
    known = {"learning_rate", "n_layers", "topk"}
    for text, complaint in (
        (
            "# a\nlearing_rate uniform 0,1",
            "x, line 2: the model has no key 'learing_rate'. Did you mean 'learning_rate'?",
        ),
        ("n_layers intrange 1,2\ntopk choice [5]", "x, line 2: topk has to be the same for all trials"),
    ):
        with pytest.raises(UserError) as caught:
            check_keys(parse_space(text, "x"), text, "x", known, FIXED_KEYS)
        assert complaint in str(caught.value)


def test_the_shipped_space_is_painvrl_s() -> None:
    space, text = read_space(ROOT / "hyper.test")
    config = configure("PaInvRL", "ml-100k")
    check_keys(space, text, "hyper.test", set(config.internal_config_dict) | general_keys(), FIXED_KEYS)
    for parameter in space:
        for value in parameter.grid() or [parameter.value(parameter.low), parameter.value(parameter.high)]:
            assert configure("PaInvRL", "ml-100k", config_dict={parameter.name: value})[parameter.name] == value


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    file = tmp_path / "space.hyper"
    file.write_text("n_layers intrange 1,3\n", encoding="utf-8-sig")
    assert read_space(file) == ([Whole("n_layers", 1, 3)], "n_layers intrange 1,3\n")


def test_logarithms_are_natural() -> None:
    (parameter,) = parse_space("a loguniform -2.302585,0", "x")
    assert math.isclose(parameter.value(parameter.low), 0.1, rel_tol=1e-6)
    assert parameter.shown() == "0.1 to 1, evenly on a logarithmic scale"
