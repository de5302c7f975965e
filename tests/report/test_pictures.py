"""What the pictures show, by the numbers written beside them."""

from __future__ import annotations

import csv
import itertools
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.group_means import common_names
from recbole_painvrl.report.pictures import OF_DATA, OF_ROUNDS, risk_path, training_curves
from recbole_painvrl.report.pictures.groups import group_heat, worst_cells
from recbole_painvrl.report.pictures.risks import read_front, smooth
from recbole_painvrl.report.pictures.steps import along, offsets
from recbole_painvrl.report.pictures.training import stages
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.report.runs import Run, configurations, find_runs
from recbole_painvrl.report.selection import RULES, Selected, select
from recbole_painvrl.report.sheet import Absent, Drawing, Sheet
from recbole_painvrl.report.style import LOOKS, house_style, look, mean_line
from tests.report.made_runs import METRIC, make_run, make_truth


@pytest.fixture(scope="session")
def selected(made_runs: Path) -> dict[str, Selected]:
    runs, _ = find_runs([made_runs])
    return {one.configuration.model: one for one in select(configurations(runs), RULES["iid_validation"])}


def rows_of(drawing: Drawing) -> list[dict[str, object]]:
    return [dict(zip(drawing.header, row, strict=True)) for row in drawing.rows]


def test_trade_off_has_each_model_at_each_rho(selected: dict[str, Selected]) -> None:
    rows = rows_of(OF_DATA["trade_off"](list(selected.values()), METRIC))
    erm = [row for row in rows if row["model"] == "ERM"]
    assert [(row["seed"], row["rho"], row[f"{METRIC}_iid"]) for row in erm] == [
        (1, None, 0.41),
        (2, None, 0.42),
        (3, None, 0.43),
    ]
    first = [row for row in rows if row["model"] == "PaInvRL" and row["seed"] == 1]
    assert [(row["rho"], row[f"{METRIC}_iid"], row[f"{METRIC}_ood"], row["chosen"]) for row in first] == [
        (0.0, 0.31, 0.31, 0),
        (0.5, 0.36, 0.26, 1),
        (1.0, 0.41, 0.21, 0),
    ]


@pytest.mark.parametrize("name", ["trade_off", "shift"])
def test_a_legend_of_many_models_hides_none_of_them(selected: dict[str, Selected], name: str) -> None:
    erm, painvrl = selected["ERM"], selected["PaInvRL"]
    differing = [
        replace(erm, configuration=replace(erm.configuration, differs=f"learning_rate={place}, reg_weight=0.003"))
        for place in range(8)
    ]
    with house_style():
        few = OF_DATA[name]([erm, painvrl], METRIC).figure
        many = OF_DATA[name]([*differing, painvrl], METRIC).figure
        for figure in (few, many):
            figure.draw_without_rendering()
    assert not few.legends and few.axes[0].get_legend()
    assert many.axes[0].get_legend() is None
    (legend,) = many.legends
    assert len({text.get_text() for text in legend.get_texts()}) == 9
    around, panel, whole = legend.get_window_extent(), many.axes[0].get_window_extent(), many.bbox
    assert not around.overlaps(panel) and around.x1 <= whole.x1 and around.y0 >= whole.y0
    assert panel.width == pytest.approx(few.axes[0].get_window_extent().width, rel=0.15)


def test_shift_is_read_at_the_chosen_rho(selected: dict[str, Selected]) -> None:
    rows = rows_of(OF_DATA["shift"](list(selected.values()), METRIC))
    values = {(row["model"], row["gamma"]): row[METRIC] for row in rows if row["seed"] == 1}
    assert values[("ERM", -1.5)] == pytest.approx(0.21)
    assert values[("PaInvRL", -1.5)] == pytest.approx(0.4 - 0.2 * 1.5 + 0.01)


def test_mask_rounds_and_truth_keep_each_dimension(selected: dict[str, Selected]) -> None:
    rows = rows_of(OF_ROUNDS["mask_rounds"](selected["PaInvRL"]))
    assert len(rows) == 3 * 2 * 6
    assert [row["mask"] for row in rows if row["seed"] == 2 and row["round"] == 0 and row["modality"] == "text"] == [
        0.5,
        0.0,
    ]
    drawing = OF_ROUNDS["mask_truth"](selected["PaInvRL"])
    assert {(row["modality"], row["dimension"], row["truth"], row["mask"]) for row in rows_of(drawing)} == {
        ("visual", "0", "invariant", 0.9),
        ("visual", "1", "invariant", 0.8),
        ("visual", "2", "spurious", 0.1),
        ("visual", "3", "noise", 0.2),
        ("text", "0", "invariant", 1.0),
        ("text", "1", "spurious", 0.0),
    }
    assert [axes.get_title() for axes in drawing.figure.axes] == ["visual, AUC 1.00", "text, AUC 1.00"]


def with_masks(root: Path, rounds: dict[int, list[float]], **others: Any) -> Run:
    """A run whose rounds have these masks of one modality."""
    run = RunFolder(make_run(root, rounds=0, **others))
    for number, values in rounds.items():
        run.record("mask", round=number, values={"visual": values}, history=[])
    return Run(run.path)


def test_a_column_of_the_mask_is_one_dimension_of_each_seed_over_all_rounds(tmp_path: Path) -> None:
    runs = [
        with_masks(tmp_path, {0: [0.9, 0.1, 0.5], 1: [0.0, 0.6, 1.0]}),
        with_masks(tmp_path, {0: [0.3, 0.7, 0.5], 1: [1.0, 0.6, 0.0]}, seed=2),
    ]
    drawing = OF_ROUNDS["mask_rounds"](*select(configurations(runs), RULES["iid_validation"]))
    assert np.allclose(drawing.figure.axes[0].images[0].get_array(), [[0.4, 0.4, 0.7], [1.0, 0.6, 0.0]])
    places = {(row["seed"], row["round"], row["dimension"]): row["place"] for row in rows_of(drawing)}
    assert [places[(1, number, 2)] for number in (0, 1)] == [places[(2, number, 0)] for number in (0, 1)] == [0, 0]
    assert "a column is the same dimension in all, and averaged over seeds by its place" in drawing.note


def test_learned_axes_are_sorted_in_each_round(tmp_path: Path) -> None:
    run = with_masks(tmp_path, {0: [0.9, 0.1, 0.5], 1: [0.0, 0.6, 1.0]}, config={"mask_axes": "learned"})
    drawing = OF_ROUNDS["mask_rounds"](*select(configurations([run]), RULES["iid_validation"]))
    assert np.allclose(drawing.figure.axes[0].images[0].get_array(), [[0.9, 0.5, 0.1], [1.0, 0.6, 0.0]])
    assert [row["place"] for row in rows_of(drawing)] == [0, 2, 1, 2, 1, 0]
    assert "each line sorted by itself" in drawing.note


@pytest.mark.parametrize(
    ("config", "axes"),
    [
        ({"mask_axes": "learned"}, "learned"),
        ({"feature_rotation": "pca"}, "rotated"),
        ({"feature_rotation": "zca", "mask_axes": "learned"}, "learned"),
    ],
)
def test_a_mask_of_turned_axes_meets_no_truth_of_columns(tmp_path: Path, config: dict[str, Any], axes: str) -> None:
    make_truth(tmp_path)
    (chosen,) = select(configurations([Run(make_run(tmp_path, config=config))]), RULES["iid_validation"])
    with pytest.raises(Absent, match=f"over {axes} axes"):
        OF_ROUNDS["mask_truth"](chosen)
    drawing = OF_ROUNDS["mask_rounds"](chosen)
    assert f"{axes} axes" in drawing.figure.axes[1].get_xlabel() and f"{axes} axes" in drawing.note
    assert "dimension" not in drawing.note


def test_environments_by_iteration_and_against_known_ones(selected: dict[str, Selected]) -> None:
    rows = rows_of(OF_ROUNDS["environment_sizes"](selected["PaInvRL"]))
    assert [(row["round"], row["iteration"], row["moved"], row["sizes"]) for row in rows][:2] == [
        (0, 1, 0.5, "60 31 9"),
        (0, 2, 0.25, "60 32 8"),
    ]
    table = rows_of(OF_ROUNDS["assignment"](selected["PaInvRL"]))
    assert [row["interactions"] for row in table if row["seed"] == 1 and row["known"] == "b"] == [10, 30, 8]


def with_environments(root: Path, histories: list[list[dict[str, Any]]], config: dict[str, Any]) -> Selected:
    """A run of one round for each of these histories of its identification."""
    run = RunFolder(make_run(root, rounds=0, config=config))
    for number, history in enumerate(histories):
        run.record("identification", round=number, sizes=[60, 40], moved=1.0 - number, history=history)
    (one,) = select(configurations([Run(run.path)]), RULES["iid_validation"])
    return one


@pytest.mark.parametrize("count", [1, 3])
def test_given_environments_have_rounds_and_do_not_move(tmp_path: Path, count: int) -> None:
    drawing = OF_ROUNDS["environment_sizes"](with_environments(tmp_path, [[]] * count, {"env_field": "environment"}))
    (axes,) = drawing.figure.axes
    drawing.figure.draw_without_rendering()
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(number) for number in range(count)]
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([*range(count)] * 2)
    assert axes.patches[0].get_width() <= 0.35 * np.ptp(axes.get_xlim())
    assert {(row["moved"], row["sizes"]) for row in rows_of(drawing)} == {(None, "60 40")}
    assert "moved" not in drawing.note and "Nothing was identified" in drawing.note


def test_iterations_are_whole_numbers(tmp_path: Path) -> None:
    histories = [[{"iteration": 1, "moved": 0.5, "sizes": [60, 40]}]]
    drawing = OF_ROUNDS["environment_sizes"](with_environments(tmp_path, histories, {}))
    drawing.figure.draw_without_rendering()
    ticks = [tick for tick in drawing.figure.axes[1].get_xticks() if 0.3 < tick < 1.5]
    assert ticks == [1.0]


def overlapping(texts: list[Any]) -> list[tuple[str, str]]:
    """Neighboring texts whose boxes lie on each other."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    return [(one, other) for (one, box), (other, after) in itertools.pairwise(boxes) if box.overlaps(after)]


def test_stages_close_to_each_other_are_told_apart(tmp_path: Path) -> None:
    run = RunFolder(make_run(tmp_path, rounds=0))
    for number in range(12):
        run.record("train", epoch=6 + 3 * number, loss=1.0)
        run.record("mask", round=number, values={})
    run.record("train", epoch=150, loss=1.0)
    with house_style():
        figure = training_curves(*select(configurations([Run(run.path)]), RULES["iid_validation"])).figure
        figure.draw_without_rendering()
        texts = sorted(figure.axes[0].texts, key=lambda text: text.get_position())
        assert len(figure.axes[0].lines) >= 12 and texts[-1].get_text() == "11, then final training"
        assert len(texts) > 3 and overlapping(texts) == []


def test_long_names_of_known_environments_are_told_apart(tmp_path: Path) -> None:
    run = RunFolder(make_run(tmp_path, rounds=0))
    names = [f"2020-0{month}-weekend{'s' * month}" for month in range(1, 9)]
    table = np.eye(8, dtype=int).tolist()
    run.record("identification", round=0, sizes=[1] * 8, known={"names": names, "ari": 1.0, "nmi": 1.0, "table": table})
    with house_style():
        figure = OF_ROUNDS["assignment"](*select(configurations([Run(run.path)]), RULES["iid_validation"])).figure
        figure.draw_without_rendering()
    labels = figure.axes[0].get_xticklabels()
    assert labels[0].get_text() == "2020-01-weekends" and labels[7].get_text() == "2020-08-weeke..."
    assert {label.get_rotation() for label in labels} == {30.0}


def test_pareto_and_risks_by_step(selected: dict[str, Selected]) -> None:
    rows = rows_of(OF_ROUNDS["pareto_steps"](selected["PaInvRL"]))
    assert (len(rows), {row["cosine"] for row in rows}) == (3 * 2 * 3, {-0.5})
    drawing = risk_path(selected["PaInvRL"], [(4.8, 1e-6, 0.5)])
    assert drawing.rows[0] == (1, 0, 1, 4.9, 1e-5, 0.5)
    assert drawing.rows[-1] == ("fixed", "", "", 4.8, 1e-6, 0.5)
    assert "from a file" in drawing.note
    assert "fixed weights" in [text.get_text() for text in drawing.figure.axes[0].get_legend().get_texts()]


def test_a_round_without_a_positive_penalty_has_no_path(tmp_path: Path) -> None:
    run, below = RunFolder(make_run(tmp_path)), [{"erm": 5.0, "irm": -1e-5}, {"erm": 4.9, "irm": 0.0}]
    run.record("mask", round=2, values={"visual": [0.5]}, history=below)
    drawing = risk_path(*select(configurations([Run(run.path)]), RULES["iid_validation"]))
    assert [text.get_text() for text in drawing.figure.axes[0].get_legend().get_texts()] == ["round 0", "round 1"]
    assert [row["irm"] for row in rows_of(drawing) if row["round"] == 2] == [-1e-5, 0.0]
    assert drawing.note.endswith("in the CSV only.")
    only = RunFolder(make_run(tmp_path, seed=2, rounds=0))
    only.record("mask", round=0, values={"visual": [0.5]}, history=below)
    with pytest.raises(Absent, match="no step of the mask has a positive IRM penalty"):
        risk_path(*select(configurations([Run(only.path)]), RULES["iid_validation"]))


def steps_of(root: Path, config: dict[str, Any], **values: Any) -> Drawing:
    run = RunFolder(make_run(root, rounds=0, config=config))
    row = {"erm": 5.0, "irm": 1e-5, "weight": 0.5, "cosine": -0.5, "stationarity": 0.25}
    run.record("mask", round=0, values={"visual": [0.5]}, history=[{**row, **values}] * 3)
    return OF_ROUNDS["pareto_steps"](*select(configurations([Run(run.path)]), RULES["iid_validation"]))


@pytest.mark.parametrize(
    ("config", "values", "panels", "why"),
    [
        ({"pareto_normalize": "l2"}, {"factor": 900.0}, ["factor"], "it is 0.5 by definition"),
        ({"pareto_normalize": "l2"}, {}, [], "it is 0.5 by definition"),
        ({"pareto_normalize": "l2", "pareto_bounds": [0.7, 0]}, {}, [], "it is 0.7 by definition"),
        ({"pareto_normalize": "none", "pareto_bounds": [1, 0]}, {"factor": math.inf}, [], "no choice but 1"),
        ({"pareto_normalize": "none", "pareto_bounds": [0, 1]}, {"factor": 0.0}, [], "no choice but 0"),
        ({"pareto_solver": "fixed", "irm_weight": 10}, {"factor": 10.0}, ["factor"], "pareto_solver: fixed"),
        ({"pareto_normalize": "loss"}, {"factor": 900.0}, ["Pareto", "factor"], None),
        ({}, {}, ["Pareto"], None),
    ],
)
def test_a_weight_that_is_the_same_by_definition_gives_way_to_what_it_comes_to(
    tmp_path: Path, config: dict[str, Any], values: dict[str, Any], panels: list[str], why: str | None
) -> None:
    drawing = steps_of(tmp_path, config, **values)
    assert [axes.get_ylabel().split()[0] for axes in drawing.figure.axes] == [*panels, "cosine", "stationarity"]
    assert ("is not drawn" in drawing.note) == (why is not None) and (why or "") in drawing.note
    assert ("fixed irm_weight that would give the same" in drawing.note) == ("factor" in panels)
    recorded = [value if value and math.isfinite(value) else None for value in [values.get("factor")]]
    assert [row["factor"] or None for row in rows_of(drawing)] == recorded * 3


def swept(root: Path) -> tuple[Selected, list[Selected]]:
    """A configuration with Pareto weights and two seeds, and all configurations that were run beside it."""
    pareto = {"pareto_solver": "mgda", "pareto_normalize": "l2", "irm_weight": 10_000.0}
    fixed = {"pareto_solver": "fixed", "pareto_normalize": "l2"}
    for seed in (1, 2):
        make_run(root, seed=seed, config=pareto)
        make_run(root, seed=seed, config={**pareto, "pareto_normalize": "none"})
        for weight in (10, 300):
            make_run(root, seed=seed, config={**fixed, "irm_weight": weight})
        make_run(root, seed=seed, config={**fixed, "irm_weight": 5, "env_level": "user"})  # other environments
        others = RunFolder(make_run(root, seed=seed, rounds=0, config={**fixed, "irm_weight": 6}))
        others.record("identification", round=0, sizes=[50, 42, 8], moved=0.25, history=[])  # other ones again
        others.record("mask", round=0, values={"visual": [0.5]}, history=[{"erm": 1.0, "irm": 1.0}])
    make_run(root, seed=1, config={**fixed, "irm_weight": 7})  # one seed of two
    runs, _ = find_runs([root])
    every = select(configurations(runs), RULES["iid_validation"])
    (ours,) = [one for one in every if one.configuration.runs[0].settings == every_setting(one, pareto)]
    return ours, every


def every_setting(one: Selected, config: dict[str, Any]) -> dict[str, Any]:
    names = ("model", "dataset")
    return {**{name: one.configuration.runs[0].settings[name] for name in names}, **config}


def test_runs_that_differ_only_in_how_they_weigh_are_beside_the_path(tmp_path: Path) -> None:
    ours, every = swept(tmp_path)
    drawing = risk_path(ours, others=every)
    beside = [row for row in rows_of(drawing) if not isinstance(row["seed"], int)]
    assert {(row["seed"], row["weight"]) for row in beside} == {
        ("fixed", 10.0),
        ("fixed", 300.0),
        ("Pareto weights (none)", None),
    }
    assert [(row["round"], row["erm"], row["irm"]) for row in beside] == [(0, 4.7, pytest.approx(1e-5 / 3))] * 3
    legend = [text.get_text() for text in drawing.figure.axes[0].get_legend().get_texts()]
    assert legend == ["round 0", "round 1", "fixed weights", "Pareto weights (none)"]
    assert "fixed weights from 10 to 300" in drawing.note and "Later rounds" in drawing.note


def test_a_path_of_fixed_weights_is_one_of_the_squares(tmp_path: Path) -> None:
    _, every = swept(tmp_path)
    (ten,) = [one for one in every if one.configuration.runs[0].settings.get("irm_weight") == 10]
    beside = [row for row in rows_of(risk_path(ten, others=every)) if not isinstance(row["seed"], int)]
    assert [row["weight"] for row in beside if row["seed"] == "fixed"] == [10.0, 300.0]
    assert {row["seed"] for row in beside} == {"fixed", "Pareto weights (l2)", "Pareto weights (none)"}


def test_nothing_that_compares_no_marks(tmp_path: Path) -> None:
    ours, every = swept(tmp_path)
    (others,) = [one for one in every if one.configuration.runs[0].settings.get("irm_weight") == 5]
    for one in (risk_path(others, others=every), risk_path(ours)):
        assert all(isinstance(row["seed"], int) for row in rows_of(one)) and "Black" not in one.note


def test_training_names_losses_and_stages(selected: dict[str, Selected]) -> None:
    rows = rows_of(training_curves(selected["PaInvRL"]))
    assert {row["series"] for row in rows} == {"loss", "invariant", "full", f"valid {METRIC}", "stage"}
    assert stages(selected["PaInvRL"].configuration.runs[0]) == [(2, "rounds 0 to 1")]
    assert stages(selected["ERM"].configuration.runs[0]) == []
    assert [row["epoch"] for row in rows if row["series"] == "full" and row["seed"] == 1] == [3, 4, 5, 6]


def test_groups_by_model_or_by_metric(selected: dict[str, Selected]) -> None:
    both, one = group_heat(list(selected.values()), METRIC), group_heat([selected["ERM"]], METRIC)
    columns = [[text.get_text() for text in drawing.figure.axes[0].get_xticklabels()] for drawing in (both, one)]
    assert columns == [["ERM", "PaInvRL"], [METRIC, "recall@10"]]
    assert ("ERM", "test", "gender", "m", 10, 20, METRIC, pytest.approx(0.35)) in both.rows
    frames = [patch for patch in one.figure.axes[0].patches if not patch.get_fill()]
    assert sorted(round(frame.get_y() + 0.38) for frame in frames) == [0, 0, 3, 3]  # low and m, in both columns


def test_a_heat_map_stays_readable_and_its_csv_whole(tmp_path: Path) -> None:
    metrics = [METRIC, *(f"other@{cutoff}" for cutoff in range(9))]
    groups = {
        name: {"groups": {str(g): {"users": 100 - g, **{m: 0.1 + g / 100 for m in metrics}} for g in range(30)}}
        for name in ("genre", "age", "country")
    }
    groups["age"]["groups"]["29"][METRIC] = 0.01  # the smallest group is the worst one
    run = Run(make_run(tmp_path, "ERM", rounds=0, result={"groups": {"test": groups}}))
    drawing = group_heat(select(configurations([run]), RULES["iid_validation"]), METRIC)
    (axes,) = drawing.figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == metrics[:6]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert len(labels) <= 32 and "age: 29 (71)" in labels and "genre: 29 (71)" not in labels
    frames = [patch for patch in axes.patches if not patch.get_fill()]
    assert labels.index("age: 29 (71)") in [round(frame.get_y() + 0.38) for frame in frames]
    assert len(drawing.rows) == 3 * 30 * 10
    assert all(drawing.figure.get_size_inches() <= (7.5, 9.5))
    assert "4 more metrics and 60 smaller groups" in drawing.note


def test_the_worst_group_is_the_least_where_validation_went_by_a_loss(tmp_path: Path) -> None:
    result = {"valid_metric": "logloss", "valid_score_bigger": False, "best_valid_result": {"logloss": 0.3}}
    run = Run(make_run(tmp_path, "ERM", rounds=0, result=result))
    drawing = group_heat(select(configurations([run]), RULES["iid_validation"]), METRIC)
    frames = [patch for patch in drawing.figure.axes[0].patches if not patch.get_fill()]
    assert sorted(round(frame.get_y() + 0.38) for frame in frames) == [0, 0, 3, 3]


def test_a_group_of_few_users_is_never_the_worst(tmp_path: Path) -> None:
    found = {
        name: {"users": users, METRIC: value} for name, users, value in (("a", 9, 0.1), ("b", 10, 0.2), ("c", 99, 0.3))
    }
    groups = {"test": {"activity": {"groups": found, "worst": {METRIC: 0.2}}}}
    run = Run(make_run(tmp_path, "ERM", rounds=0, result={"groups": groups}))
    drawing = group_heat(select(configurations([run]), RULES["iid_validation"]), METRIC)
    (frame,) = (patch for patch in drawing.figure.axes[0].patches if not patch.get_fill())
    assert round(frame.get_y() + 0.38) == 1


def test_quantiles_of_different_seeds_are_one_group(tmp_path: Path) -> None:
    """Each run's split has bounds of its own; what is the same place in all of them is averaged over all seeds."""
    bounds = {1: ("0", "1..4", "5..90"), 2: ("0", "1..4", "5..80"), 3: ("0", "1..5", "6..95")}
    for model, seed in itertools.product(("ERM", "MF"), bounds):
        found = {name: {"users": 10 * seed, METRIC: seed / 10} for name in bounds[seed]}
        make_run(tmp_path, model, seed, rounds=0, result={"groups": {"test": {"popularity": {"groups": found}}}})
    runs, _ = find_runs([tmp_path])
    drawing = group_heat(select(configurations(runs), RULES["iid_validation"]), METRIC)
    labels = [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()]
    assert labels == ["popularity: 0 (20)", "popularity: ≈1..4 (20)", "popularity: ≈5..90 (20)"]
    assert [row[-1] for row in drawing.rows] == [pytest.approx(0.2)] * 6
    assert "bounds of the first seed" in drawing.note


@pytest.mark.parametrize(
    "other",
    [
        ["25", "31", "(other)"],  # tokens that are numbers, another one of which is frequent
        ["25", "30..35"],
        ["25", "low..high", "(other)"],
    ],
)
def test_groups_that_are_not_the_same_place_keep_their_names(other: list[str]) -> None:
    first = {("age", name): {METRIC: 0.1} for name in ("25", "30", "(other)")}
    second = {("age", name): {METRIC: 0.1} for name in other}
    assert common_names([first, second, {}]) == [{key: key for key in first}, {key: key for key in second}, {}]


def test_groups_without_the_metric_are_not_drawn(tmp_path: Path) -> None:
    lacking = {name: {"groups": {"low": {"users": 10, "recall@10": 0.1}}} for name in ("activity", "gender")}
    make_run(tmp_path, "ERM", rounds=0, result={"groups": {"test": lacking}})
    make_run(tmp_path, "MF", rounds=0, result={"groups": {"test": lacking}})
    runs, _ = find_runs([tmp_path])
    both = select(configurations(runs), RULES["iid_validation"])
    with pytest.raises(Absent, match=f"have no {METRIC}"):
        group_heat(both, METRIC)
    make_run(tmp_path, "PaInvRL")
    runs, _ = find_runs([tmp_path])
    drawing = group_heat(select(configurations(runs), RULES["iid_validation"]), METRIC)
    assert [text.get_text() for text in drawing.figure.axes[0].get_xticklabels()] == ["PaInvRL"]


def test_the_worst_of_each_grouping_and_column() -> None:
    values = np.array([[3.0, 1.0], [2.0, np.nan], [0.0, 5.0], [0.0, 4.0], [9.0, 9.0]])
    assert worst_cells(values, ["a", "a", "b", "b", "alone"]) == [(1, 0), (2, 0), (3, 1)]


@pytest.mark.parametrize(
    ("draw", "missing"),
    [(draw, "mask|identif|rotat") for draw in OF_ROUNDS.values()] + [(risk_path, "mask")],
)
def test_what_is_not_recorded_is_not_drawn(
    selected: dict[str, Selected], draw: Callable[[Selected], Drawing], missing: str
) -> None:
    with pytest.raises(Absent, match=missing):
        draw(selected["ERM"])


def test_no_other_test_set_no_trade_off_and_no_shift(tmp_path: Path) -> None:
    run = Run(make_run(tmp_path, "ERM", rounds=0, result={"test_results": {"test": {METRIC: 0.1}}}))
    only = select(configurations([run]), RULES["iid_validation"])
    for draw in OF_DATA.values():
        with pytest.raises(Absent, match="test"):
            draw(only, METRIC)


def test_rounds_follow_each_other_with_a_gap() -> None:
    found = [{0: [{"x": 1.0}, {"x": 2.0}], 1: [{"x": 3.0}]}, {0: [{"x": 5.0}], 1: [{"x": None}, {"x": 6.0}]}]
    begins = offsets(found)
    assert begins == {0: 0, 1: 2}
    first = along(found[0], begins, "x")
    assert list(first) == [1.0, 2.0, 2.5, 3.0]
    assert math.isnan(first[2.5])
    assert [place for place in along(found[1], begins, "x") if place != 2.5] == [1.0, 4.0]


def test_the_mean_is_where_all_runs_are() -> None:
    assert mean_line([{1.0: 1.0, 2.0: 3.0}, {2.0: 5.0, 3.0: 1.0}]) == {2.0: 4.0}
    assert mean_line([]) == {}


def test_smoothing_keeps_lines_and_the_first_value() -> None:
    line = [float(step) for step in range(100)]
    assert smooth(line)[:95] == pytest.approx(line[:95])
    assert smooth([0.0, 8.0, 0.0]) == [0.0, 8.0, 0.0]  # too short to be smoothed
    noisy = smooth([0.0, 1.0] * 50)
    assert (noisy[0], max(noisy) < 0.6) == (0.0, True)


def test_series_differ_without_their_colors() -> None:
    looks = [look(position) for position in range(len(LOOKS))]
    assert len({one.marker for one in looks}) == len({str(one.line) for one in looks}) == len(LOOKS)
    many = [look(position) for position in range(20)]
    assert len({(one.color, one.marker, str(one.line)) for one in many}) == 20


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("erm,irm\n1,2\n", "no column weight"),
        ("erm,irm,weight\n1,2,3\n1,x,3\n", "line 3"),
        ("erm,irm,weight,kind\n1,2,3,l2\n1,2,3,fixed\n1,x,3,fixed\n", "line 4"),
        ("erm,irm,weight,kind\n1,2,3,l2\n", "no row of a fixed weight"),
        ("erm,irm,weight\n", "no row of a fixed weight"),
        (None, "cannot be read"),
    ],
)
def test_a_front_that_cannot_be_used_is_refused(tmp_path: Path, text: str | None, complaint: str) -> None:
    file = tmp_path / "front.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_front(file)


def test_only_fixed_weights_make_a_front(tmp_path: Path) -> None:
    file = tmp_path / "front.csv"
    file.write_text("erm,irm,weight,kind\n1,2,3,fixed\n4,5,0.5,l2\n6,7,0.9,none\n8,9,10,fixed\n11,12,0.1,loss\n")
    assert read_front(file) == [(1, 2, 3), (8, 9, 10)]
    file.write_text("erm,irm,weight\n1,2,3\n")
    assert read_front(file) == [(1, 2, 3)]


@pytest.mark.parametrize("rule", ["iid_validation", "oracle"])
def test_a_written_picture_has_its_numbers_and_its_rule(
    tmp_path: Path, selected: dict[str, Selected], rule: str
) -> None:
    sheet = Sheet(tmp_path / "out", RULES[rule], png=True)
    with house_style():
        stem = sheet.picture("a name/1", training_curves(selected["ERM"]))
    ElementTree.parse(tmp_path / "out" / f"{stem}.svg")
    assert (tmp_path / "out" / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "out" / f"{stem}.csv", newline="") as text:
        assert {row["rule"] for row in csv.DictReader(text)} == {RULES[rule].label}
    assert ("not allowed for claims" in sheet.titled("Title")) == (rule == "oracle")
