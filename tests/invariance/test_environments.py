from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from recbole_painvrl.invariance import (
    Environments,
    EnvironmentSettings,
    FrozenRecommender,
    Interactions,
    MaskSettings,
    SoftmaxLoss,
    generate_mask,
    identify_environments,
)
from recbole_painvrl.invariance.likelihood import row_evidence
from tests.invariance.pretrained import Study, study
from tests.planted import area_under_curve

QUICK = EnvironmentSettings(n_environments=3, max_iter=3, batch_size=128, n_candidates=64)


def identified(
    study: Study, groups: Tensor | None = None, settings: EnvironmentSettings = QUICK, seed: int = 0
) -> Environments:
    """Environments of the study's interactions."""
    source = torch.Generator().manual_seed(seed)
    return identify_environments(study.frozen, study.interactions, study.projection, source, groups, settings)


def adjusted_rand_index(first: Tensor, second: Tensor) -> float:
    """Agreement of two partitions: 1 the same, 0 chance."""
    table = torch.zeros(int(first.max()) + 1, int(second.max()) + 1, dtype=torch.float64)
    table.index_put_((first, second), torch.tensor(1.0, dtype=torch.float64), accumulate=True)
    both, rows, columns, total = (
        float((counts * (counts - 1) / 2).sum()) for counts in (table, table.sum(1), table.sum(0), table.sum())
    )
    chance = rows * columns / total
    return (both - chance) / ((rows + columns) / 2 - chance)


def two_rounds(study: Study, groups: Tensor | None, seed: int = 3) -> tuple[Environments, Tensor]:
    """Environments and mask after two rounds without labels."""
    source = torch.Generator().manual_seed(seed)
    mask = torch.zeros(study.frozen.features.shape[1])
    settings = EnvironmentSettings(n_environments=3)
    for _ in range(2):
        found = identify_environments(
            study.frozen, study.interactions, study.projection, source, groups, settings, variant=1 - mask
        )
        mask = recovered_mask(study, found.labels)
    return found, mask


def recovered_mask(study: Study, labels: Tensor) -> Tensor:
    """The mask that these environments lead to."""
    source = torch.Generator().manual_seed(3)
    settings = MaskSettings(n_candidates=100)
    return generate_mask(study.frozen, study.interactions, labels, SoftmaxLoss(), source, settings).mask


def assert_sessions_recover_the_mask(study: Study) -> None:
    """Sessions come close to what labeled environments' strengths would give (agreement 0.7), and the mask is right."""
    found, mask = two_rounds(study, study.sessions)
    assert area_under_curve(mask.numpy(), study.planted.all_truth) >= 0.95
    assert adjusted_rand_index(found.labels, study.labels) >= 0.55


def assert_single_interactions_beat_chance(study: Study) -> None:
    """With every taste known, single interactions tell their environments to an agreement of 0.2 only."""
    found, mask = two_rounds(study, None)
    permuted = study.labels[torch.randperm(len(study.labels), generator=torch.Generator().manual_seed(0))]
    control = area_under_curve(recovered_mask(study, permuted).numpy(), study.planted.all_truth)
    assert adjusted_rand_index(found.labels, study.labels) >= 0.1
    truth = torch.tensor(study.planted.all_truth)
    assert area_under_curve(mask.numpy(), study.planted.all_truth) >= max(0.8, control + 0.05)
    assert float(mask[truth == 1].mean() - mask[truth == 0].mean()) >= 0.3


def test_sessions_recover_the_mask(recovery: Study) -> None:
    assert_sessions_recover_the_mask(recovery)


def test_single_interactions_beat_chance(recovery: Study) -> None:
    assert_single_interactions_beat_chance(recovery)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_mask_is_recovered_on_every_seed(seed: int) -> None:
    planted = study("R1", seed)
    assert_sessions_recover_the_mask(planted)
    assert_single_interactions_beat_chance(planted)


def opposites() -> tuple[FrozenRecommender, Interactions, Tensor]:
    """Two kinds of users: one picks the items whose only feature is large, the other those where it is small."""
    features = torch.cat([torch.zeros(1), torch.linspace(-1, 1, 40)])[:, None]
    users = torch.arange(1, 41).repeat_interleave(5)
    draw = torch.Generator().manual_seed(0)
    likes_large = users % 2 == 0
    items = torch.randint(1, 11, (200,), generator=draw) + 30 * likes_large
    ones = torch.ones(41, 1)
    return (
        FrozenRecommender(torch.zeros(41, 1), ones, torch.zeros(41, 1), features),
        Interactions(users, items),
        likes_large,
    )


@pytest.mark.parametrize(("method", "start"), [("clustering", 0.0), ("spectral", 0.1)])
@pytest.mark.parametrize("assign", ["likelihood", "logit"])
def test_opposite_tastes_are_told_apart(assign: str, method: str, start: float) -> None:
    """The factors of columns without any weight could not tell anything: ``spectral`` needs a little of it."""
    frozen, interactions, truth = opposites()
    source = torch.Generator().manual_seed(0)
    settings = EnvironmentSettings(n_environments=2, assign=assign, method=method)
    projection = torch.full((1, 1), start)
    found = identify_environments(frozen, interactions, projection, source, interactions.users, settings)
    assert adjusted_rand_index(found.labels, truth.long()) == pytest.approx(1)
    assert found.history[-1]["moved"] <= settings.tolerance
    assert len(found.history) < settings.max_iter
    assert float(found.projections[:, 0, 0].prod()) < 0


def test_evidence_is_the_log_softmax_over_all_items(small: Study) -> None:
    frozen, rows = small.frozen, small.interactions
    projections = torch.stack([small.projection, -small.projection])
    every_item = torch.arange(1, frozen.n_items + 1)
    evidence = row_evidence(frozen, rows, projections, every_item, likelihood=True)
    for e, projection in enumerate(projections):
        scores = frozen.user_id @ frozen.item_id.T + frozen.user_feature @ (projection @ frozen.features.T)
        expected = scores[:, 1:].log_softmax(dim=1)[rows.users, rows.items - 1]
        torch.testing.assert_close(evidence[e], expected, rtol=1e-4, atol=1e-4)


def test_evidence_does_not_depend_on_the_block(small: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = torch.arange(1, 40)
    arguments = (small.frozen, small.interactions, small.projection[None], candidates, True)
    whole = row_evidence(*arguments)
    monkeypatch.setattr("recbole_painvrl.invariance.likelihood.BLOCK", 1000)
    torch.testing.assert_close(row_evidence(*arguments), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_environments_are_repeatable_and_units_stay_together(small: Study, dtype: torch.dtype) -> None:
    names = ("user_id", "user_feature", "item_id", "features")
    frozen = replace(small.frozen, **{name: getattr(small.frozen, name).to(dtype) for name in names})
    cast = replace(small, frozen=frozen, projection=small.projection.to(dtype))
    one, two = (identified(cast, 7 * small.interactions.users) for _ in range(2))
    assert torch.equal(one.labels, two.labels) and torch.equal(one.projections, two.projections)
    assert one.history == two.history
    assert one.projections.dtype == dtype
    for user in small.interactions.users.unique().tolist():
        assert one.labels[small.interactions.users == user].unique().numel() == 1


def test_history_adds_up_and_callback_sees_it(small: Study) -> None:
    seen: list[dict[str, object]] = []
    source = torch.Generator().manual_seed(0)
    found = identify_environments(
        small.frozen, small.interactions, small.projection, source, settings=QUICK, callback=seen.append
    )
    assert seen == found.history
    assert [row["iteration"] for row in seen] == list(range(1, len(seen) + 1))
    assert all(sum(row["sizes"]) == len(small.interactions) and 0 <= row["moved"] <= 1 for row in seen)
    assert torch.bincount(found.labels, minlength=3).tolist() == seen[-1]["sizes"]
    assert found.projections.shape == (3, *small.projection.shape)


def test_small_environments_are_seeded_anew(small: Study) -> None:
    settings = replace(QUICK, n_environments=20, min_share=0.03, max_iter=2)
    assert min(identified(small, settings=settings).history[-1]["sizes"]) > 0
    assert not identified(small).collapsed
    collapsed = replace(QUICK, assign="logit", learning_rate=0.0, max_iter=1, method="clustering")
    found = identified(small, settings=collapsed)  # equal projections: all tie in the first
    assert max(found.history[-1]["sizes"]) - min(found.history[-1]["sizes"]) <= 1
    assert found.history[-1]["reseeded"] == 2 and found.collapsed


def test_no_iteration_leaves_random_environments(small: Study) -> None:
    found = identified(small, settings=replace(QUICK, max_iter=0))
    assert torch.bincount(found.labels).tolist() == [1600, 1600, 1600]
    assert found.history == [] and found.heterogeneity is None and not found.collapsed


def test_too_few_units_are_refused(small: Study) -> None:
    with pytest.raises(ValueError, match="3 environments need as many units, but got 1"):
        identified(small, torch.zeros(len(small.interactions), dtype=torch.long))


@pytest.mark.parametrize("wrong", [{"n_environments": 1}, {"assign": "likelyhood"}, {"method": "em"}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="but got"):
        EnvironmentSettings(**wrong)
