from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance import Heterogeneity, Interactions, find_heterogeneity
from recbole_painvrl.invariance.heterogeneity import sampled_rows
from recbole_painvrl.invariance.likelihood import row_evidence
from recbole_painvrl.invariance.reference_choices import ReferenceChoices
from tests.invariance.known import whole_scores
from tests.invariance.pretrained import Study


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def found_in(study: Study, interactions: Interactions | None = None, units: Tensor | None = None) -> Heterogeneity:
    """Heterogeneity of single interactions or of units, all columns alike."""
    interactions = interactions or study.interactions
    units = torch.arange(len(interactions)) if units is None else torch.unique(units, return_inverse=True)[1]
    columns = torch.ones(study.frozen.features.shape[1])
    return find_heterogeneity(study.frozen, interactions, study.projection, units, columns, 2, None, seeded())


@pytest.mark.parametrize("n_judges", [150, 40])
def test_scores_are_the_derivatives_of_the_evidence(small: Study, n_judges: int) -> None:
    judges = torch.arange(1, n_judges + 1)
    rows = Interactions(small.interactions.users[::97], small.interactions.items[::97])
    factors = torch.ones(small.frozen.features.shape[1], requires_grad=True)
    evidence = row_evidence(small.frozen, rows, (small.projection * factors)[None], judges, likelihood=True)[0]
    expected = torch.stack([torch.autograd.grad(one, factors, retain_graph=True)[0] for one in evidence])
    model = ReferenceChoices(small.frozen, small.projection, judges)
    torch.testing.assert_close(whole_scores(model, rows)[0], expected, rtol=1e-3, atol=1e-4)
    along = torch.randn(2, len(factors), generator=seeded())
    torch.testing.assert_close(model.along(rows, along), expected @ along.T, rtol=1e-3, atol=1e-3)


def test_made_up_choices_follow_the_recommender(small: Study) -> None:
    """The mean score of a recommender's own choices is 0, and their covariance is the information."""
    judges = torch.arange(1, small.frozen.n_items + 1)
    one_user = Interactions(torch.full((20_000,), 5), torch.ones(20_000, dtype=torch.long))
    model = ReferenceChoices(small.frozen, small.projection, judges)
    drawn = whole_scores(model, one_user, 1, seeded())[1]
    every_item = whole_scores(model, Interactions(torch.full_like(judges, 5), judges))[0]
    projected = small.frozen.features @ small.projection.T
    scores = small.frozen.item_id @ small.frozen.user_id[5] + projected @ small.frozen.user_feature[5]
    share = scores[1:].softmax(0)
    information = (every_item * share[:, None]).T @ every_item
    scale = float(information.diagonal().max())
    assert float(drawn.mean(dim=0).abs().max()) < 0.05 * scale**0.5
    assert float((drawn.T @ drawn / len(drawn) - information).abs().max()) < 0.1 * scale


def test_blocks_do_not_change_the_scores(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ReferenceChoices(small.frozen, small.projection, torch.arange(1, 100))
    whole = whole_scores(model, small.interactions, 2, seeded())
    monkeypatch.setattr("recbole_painvrl.invariance.reference_choices.BLOCK", 9000)
    torch.testing.assert_close(whole_scores(model, small.interactions, 2, seeded()), whole)


def test_single_interactions_show_the_columns_that_shift(recovery: Study) -> None:
    found, truth = found_in(recovery), torch.tensor(recovery.planted.all_truth)
    share = found.directions[0].square() / found.directions[0].square().sum()
    assert found.signal > 1.4
    assert float(share[truth == 0].sum()) > 0.7  # 18 of 48 columns
    assert bool((found.excess.diff() <= 0).all())


def test_of_many_columns_the_leading_directions_are_the_same(recovery: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found_in(recovery)
    monkeypatch.setattr("recbole_painvrl.invariance.leading.FULL", 8)
    steps = found_in(recovery)
    assert steps.chance == pytest.approx(whole.chance, rel=1e-3)
    torch.testing.assert_close(steps.excess, whole.excess, rtol=0, atol=1e-3 * float(whole.excess[0]))
    torch.testing.assert_close(
        steps.directions[0], whole.directions[0], rtol=0, atol=2e-3 * float(whole.directions[0].norm())
    )


def test_choices_of_one_recommender_show_nothing(recovery: Study) -> None:
    """Its own made-up choices exceed chance by chance only."""
    frozen, rows = recovery.frozen, recovery.interactions
    scores = frozen.user_id @ frozen.item_id.T + frozen.user_feature @ (recovery.projection @ frozen.features.T)
    share = scores[:, 1:].softmax(dim=1)
    items = torch.multinomial(share[rows.users], 1, generator=seeded()).flatten() + 1
    assert found_in(recovery, replace(rows, items=items)).signal < 1.3


def test_a_users_own_taste_leaves_nothing_to_tell_users_apart(recovery: Study) -> None:
    """Users' tables were fitted to just these interactions; sessions, which cut across users, stand out."""
    assert found_in(recovery, units=recovery.interactions.users).signal < 1
    assert found_in(recovery, units=recovery.sessions).signal > 5


def test_a_column_without_weight_takes_no_part(recovery: Study) -> None:
    weights = torch.ones(recovery.frozen.features.shape[1])
    weights[:7] = 0
    units = torch.arange(len(recovery.interactions))
    found = find_heterogeneity(
        recovery.frozen, recovery.interactions, recovery.projection, units, weights, 3, None, seeded()
    )
    assert bool((found.directions[:, :7] == 0).all())


def test_large_data_are_sampled_by_whole_units() -> None:
    units = torch.arange(50).repeat_interleave(3)[torch.randperm(150, generator=seeded())]
    rows = sampled_rows(units, 31, seeded())
    assert len(rows) == 30
    assert sorted(torch.bincount(units[rows])[units[rows].unique()].tolist()) == [3] * 10
    assert sampled_rows(units, 150, seeded()).tolist() == list(range(150))


def test_a_recommender_without_content_shows_nothing(small: Study) -> None:
    found = found_in(replace(small, projection=torch.zeros_like(small.projection)))
    assert found.signal == 0
    assert bool(found.directions.isfinite().all()) and bool((found.coordinates == 0).all())


def test_groups_may_cut_across_users(recovery: Study) -> None:
    """The true environments as units differ along one direction, in the order of their strengths 3, 1.5 and 0."""
    found = found_in(recovery, units=recovery.labels)
    assert found.signal > 5
    steps = found.coordinates[:, 0].diff()
    assert found.coordinates.shape == (3, 1) and abs(float(steps.sign().sum())) == 2
