from __future__ import annotations

import torch
from torch import Tensor

from recbole_painvrl.invariance import Control, permuted_control
from tests.invariance.pretrained import Study


def control(study: Study, labels: Tensor, groups: Tensor | None = None) -> Control:
    source = torch.Generator().manual_seed(0)
    return permuted_control(study.frozen, study.interactions, study.projection, labels, source, groups)


def test_true_environments_stand_out_and_permuted_ones_do_not(small: Study) -> None:
    order = torch.randperm(len(small.labels), generator=torch.Generator().manual_seed(1))
    true, permuted = control(small, small.labels), control(small, small.labels[order])
    assert true.z_score > 20
    assert abs(permuted.z_score) < 3
    assert true.found > 3 * true.permuted


def test_groups_keep_one_label(small: Study) -> None:
    """Labels that permuted groups carry: dealt out to sessions at random they mean nothing, true ones do."""
    _, sessions = torch.unique(small.sessions, return_inverse=True)
    chance = torch.randint(3, (int(sessions.max()) + 1,), generator=torch.Generator().manual_seed(1))[sessions]
    assert abs(control(small, chance, small.sessions).z_score) < 3
    assert control(small, small.labels, small.sessions).z_score > 20


def test_a_figure_that_does_not_exist_is_left_out() -> None:
    assert Control(1.0, 1.0, 0.0).record() == {"found": 1.0, "permuted": 1.0, "deviation": 0.0, "z_score": None}
