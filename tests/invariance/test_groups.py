from __future__ import annotations

import torch

from recbole_painvrl.invariance import MaskSettings, SoftmaxLoss, correlated_groups, generate_mask, modality_groups
from recbole_painvrl.invariance.groups import pooled
from tests.invariance.pretrained import Study

BLOCKS = [(0, 6), (6, 9)]


def features() -> torch.Tensor:
    """Columns 0, 2, 4 follow one hidden number (4 with the other sign), 1 and 3 a second; 5 never varies."""
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(200, 2, generator=source)
    noise = 0.1 * torch.randn(200, 9, generator=source)
    first, second = hidden[:, 0], hidden[:, 1]
    signs = [first, second, 2 * first, second, -first, 0 * first, first, second, second]
    table = torch.stack(signs, dim=1) + noise
    table[:, 5] = 3.0
    return table


def test_a_modality_is_one_group() -> None:
    assert modality_groups(BLOCKS).tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1]


def test_columns_that_go_together_share_a_group_whatever_their_sign() -> None:
    groups = correlated_groups(features(), BLOCKS, 3).tolist()
    assert groups[0] == groups[2] == groups[4]
    assert groups[1] == groups[3]
    assert len({groups[0], groups[1], groups[5]}) == 3
    assert sorted(set(groups)) == list(range(6))
    assert not set(groups[:6]) & set(groups[6:])


def test_groups_of_many_modalities_are_numbered_without_holes() -> None:
    table = features()[:, [0, 1, 3, 2, 4, 6, 7, 8]]
    groups = correlated_groups(table, [(0, 2), (2, 4), (4, 6), (6, 8)], 2)
    assert groups.tolist() == list(range(8))


def test_one_group_is_the_modality_and_many_are_the_columns() -> None:
    assert torch.equal(correlated_groups(features(), BLOCKS, 1), modality_groups(BLOCKS))
    assert correlated_groups(features(), BLOCKS, 6).unique().numel() == 9


def test_gradients_of_a_group_add_up() -> None:
    values, groups = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1, 0, 1])
    assert pooled(values, groups, 2).tolist() == [2.0, 5.0]
    assert pooled(values, None, 3) is values


def mask(study: Study, groups: torch.Tensor | None) -> torch.Tensor:
    settings = MaskSettings(batch_size=256, n_candidates=64, steps=60)
    source = torch.Generator().manual_seed(1)
    labels = study.labels
    return generate_mask(study.frozen, study.interactions, labels, SoftmaxLoss(), source, settings, groups=groups).mask


def test_columns_of_a_group_have_one_mask(small: Study) -> None:
    width = small.frozen.features.shape[1]
    groups = torch.arange(width) % 4
    found = mask(small, groups)
    assert all(found[groups == group].unique().numel() == 1 for group in range(4))
    assert torch.equal(mask(small, torch.arange(width)), mask(small, None))


def test_true_groups_find_the_invariant_columns(recovery: Study) -> None:
    """Three gates, one for each kind of column: the invariant one opens, the spurious one shuts."""
    truth = torch.tensor(recovery.planted.all_truth)
    found = mask(recovery, truth + 1)  # noise 0, spurious 1, invariant 2
    assert found[truth == 1].min() > 0.8
    assert found[truth == 0].max() < 0.2
