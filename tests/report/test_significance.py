"""Paired tests, corrections and effect sizes against numbers worked out by hand or given by their authors."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import PER_USER_RHO, RunFolder, key_at
from recbole_painvrl.report.significance import (
    averaged,
    benjamini_hochberg,
    holm,
    p_value,
    paired,
    paired_values,
    per_user,
    spread,
    user_means,
)
from tests.report.made_runs import METRIC, make_run, make_users


def test_holm_steps_down_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_benjamini_hochberg_gives_the_table_of_its_paper() -> None:
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590]
    p.append(1.0)
    corrected = benjamini_hochberg(p)
    assert sum(value <= 0.05 for value in corrected) == 4  # section 4 of Benjamini and Hochberg (1995)
    assert corrected[3] == pytest.approx(0.0095 * 15 / 4)
    assert benjamini_hochberg([]) == []


def test_a_paired_comparison_has_known_numbers() -> None:
    found = paired(np.array([1.0, 2.0, 4.0]), np.array([0.0, 0.0, 1.0]))  # differences 1, 2, 3
    assert found is not None
    assert (found.n, found.difference, found.d_z) == (3, 2.0, pytest.approx(2.0))
    half = 4.302652729696142 / np.sqrt(3)  # t quantile of 2 degrees of freedom x standard error
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    assert found.p_t == pytest.approx(1 - np.sqrt(12 / (12 + 2)))  # the distribution of t with 2 degrees, t = 2 sqrt 3
    assert found.p_wilcoxon == pytest.approx(2 / 8)  # all signs equal: 2 of 2^3 ways


def test_a_comparison_is_two_sided_and_as_scipy_has_it() -> None:
    generator = np.random.Generator(np.random.PCG64(7))
    left, right = generator.random((2, 200))
    there, back = paired(left, right), paired(right, left)
    assert there is not None and back is not None
    assert (there.p_t, there.p_wilcoxon) == pytest.approx((ttest_rel(left, right).pvalue, wilcoxon(left, right).pvalue))
    assert (there.p_t, there.p_wilcoxon) == pytest.approx((back.p_t, back.p_wilcoxon))
    assert (there.difference, there.low, there.d_z) == pytest.approx((-back.difference, -back.high, -back.d_z))


@pytest.mark.parametrize(("users", "scale"), [(12, 1), (40, 1), (300, 1), (300, 10_000)])
def test_equal_differences_are_ties_however_they_were_rounded(users: int, scale: int) -> None:
    tenths = np.random.Generator(np.random.PCG64(3)).integers(0, 11, (2, 3, users))  # models, seeds, users
    names = np.array([f"{user:03}" for user in range(users)])
    ours, theirs = (averaged([(names, scale * seed / 10) for seed in model]) for model in tenths)
    exact = [Fraction(int(thirtieths)) for thirtieths in tenths[0].sum(axis=0) - tenths[1].sum(axis=0)]
    assert len({Fraction(ours[name]) - Fraction(theirs[name]) for name in names}) > len(set(exact))
    found = paired(*paired_values(ours, theirs))
    assert found is not None
    assert found.p_wilcoxon == pytest.approx(wilcoxon([float(one) for one in exact]).pvalue, rel=1e-9)


def test_differences_of_rounding_alone_are_none() -> None:
    thirds = np.array([0.1 + 0.2, 0.3, 0.7, 0.1 * 3])
    found = paired(thirds, np.array([0.3, 0.3, 0.7, 0.3]))
    assert found is not None
    assert (found.difference, found.d_z, found.p_t, found.p_wilcoxon) == (0.0, None, 1.0, 1.0)


def test_differences_that_do_not_vary_are_no_certainty() -> None:
    same = np.array([0.1, 0.2, 0.3])
    equal, shifted = paired(same, same), paired(same + 0.1, same)
    assert equal is not None and shifted is not None
    assert (equal.p_t, equal.p_wilcoxon, equal.difference, equal.d_z) == (1.0, 1.0, 0.0, None)
    assert (shifted.p_t, shifted.d_z) == (None, None)
    assert (shifted.low, shifted.high) == pytest.approx((0.1, 0.1))
    assert paired(same[:1], same[:1]) is None


def test_users_are_averaged_over_their_seeds_and_only_common_ones_paired(tmp_path: Path) -> None:
    first = make_users(make_run(tmp_path, "A", 1, rounds=0), [0.2, 0.4], ["b", "a"])
    second = make_users(make_run(tmp_path, "A", 2, rounds=0), [0.6, 0.9], ["a", "c"])
    means = user_means([first, second], "test", METRIC)
    assert means == pytest.approx({"a": 0.5, "b": 0.2, "c": 0.9})
    left, right = paired_values(means, {"c": 0.1, "a": 0.3, "z": 1.0})
    assert (left.tolist(), right.tolist()) == ([0.5, 0.9], [0.3, 0.1])
    assert user_means([first, make_run(tmp_path, "A", 3, rounds=0)], "test", METRIC) is None
    assert user_means([first], "test_ood", METRIC) is None


def test_users_at_another_rho_are_those_of_that_rho(tmp_path: Path) -> None:
    first = make_users(make_run(tmp_path, "PaInvRL", 1), [0.2, 0.4], ["b", "a"])
    second = make_users(make_run(tmp_path, "PaInvRL", 2), [0.6, 0.9], ["a", "b"])
    assert user_means([first, second], "test", METRIC, [0.5, None]) is None
    RunFolder(first).write_arrays(PER_USER_RHO, {key_at(0.5, "test", METRIC): np.array([0.3, 0.8])})
    assert user_means([first, second], "test", METRIC, [0.5, None]) == pytest.approx({"a": 0.7, "b": 0.6})
    assert user_means([first, second], "test", METRIC, [0.0, None]) is None
    RunFolder(first).write_arrays(PER_USER_RHO, {key_at(0.5, "test", METRIC): np.array([0.3])})
    with pytest.raises(UserError, match="the values of test are not of its users; make the run again"):
        user_means([first], "test", METRIC, [0.5])


def test_users_of_different_data_sets_are_different(tmp_path: Path) -> None:
    runs = []
    for model, plus in (("A", 0.0), ("B", 0.1)):
        for dataset in ("x", "y"):
            folder = make_run(tmp_path, model, 1, dataset=dataset, rounds=0)
            make_users(folder, [0.1, 0.2 + plus, 0.3])
            runs.append({"dataset": dataset, "folder": str(folder)})
    assert set(per_user(runs[:2], "test", METRIC)) == {(name, f"u{user}") for name in "xy" for user in range(3)}
    expected = ttest_rel([0.1, 0.2, 0.3] * 2, [0.1, 0.3, 0.3] * 2).pvalue
    assert p_value(runs[:2], runs[2:], "test", METRIC) == f"{expected:.2g}"
    ours = runs[:2]
    assert p_value(ours, ours, "test", METRIC) == ""


def test_spread_is_mean_and_deviation() -> None:
    assert spread([1.0, 2.0, 3.0], 2) == "2.00 ± 1.00"
    assert spread([1.0]) == "1.0000"
