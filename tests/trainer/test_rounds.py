"""One round on the checkerboard: what identification looks at, what it may not split, and where the mask ends."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_painvrl.errors import UserError
from recbole_painvrl.invariance import FrozenRecommender, UltraGCNLoss
from recbole_painvrl.invariance.control import Control
from recbole_painvrl.quick_start import run_recbole_painvrl
from recbole_painvrl.recommend import recommend
from recbole_painvrl.trainer import rounds
from tests.inputs import write_checkerboard, write_interactions, write_items
from tests.trainer.test_run_trainer import KEYS, STAGES, configuration, started

SMALL = {**STAGES, "use_gpu": False}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rounds_on(folder: Path, **keys: Any) -> tuple[rounds.Rounds, Any]:
    """Rounds on an untrained model, and the training interactions."""
    trainer, data = started(configuration("PaInvRL", folder, 2, **{**SMALL, **keys}), None)
    return trainer.rounds, data.train.dataset


def labels_by(field: str, found: rounds.Rounds, dataset: Any) -> dict[str, set[int]]:
    """The environments of each value of a column, by its token."""
    together: dict[str, set[int]] = defaultdict(set)
    tokens = dataset.field2id_token[field][dataset.inter_feat[field].numpy()]
    for token, label in zip(tokens, found.model.environment.tolist(), strict=True):
        together[token].add(label)
    return together


def test_given_labels_are_the_environments(folder: Path) -> None:
    """40 users with 4 interactions in their first session, all of environment a, and 5 in the second, of b."""
    found, dataset = rounds_on(folder, env_field="environment", n_environments=7)
    seen = found.identify(0, dataset, show_progress=False)
    together = labels_by("environment", found, dataset)
    assert set(together) == {"a", "b"}
    assert sorted(map(sorted, together.values())) == [[0], [1]]
    (first,) = together["a"]
    assert [seen["sizes"][first], seen["sizes"][1 - first]] == [160, 200]
    assert seen["history"] == []


def test_a_record_tells_signal_from_chance(folder: Path) -> None:
    """Given labels agree with themselves; an untrained recommender's random environments carry nothing."""
    found, dataset = rounds_on(folder, env_field="environment")
    seen = found.identify(0, dataset, show_progress=False)
    assert seen["known"]["ari"] == pytest.approx(1) and sorted(seen["known"]["names"]) == ["a", "b"]
    assert sorted(count for row in seen["known"]["table"] for count in row) == [0, 0, 160, 200]
    assert seen["heterogeneity"] is None and not seen["collapsed"]


def test_chance_is_called_chance(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    found, dataset = rounds_on(folder, env_max_iter=0, n_environments=3)
    seen = found.identify(0, dataset, show_progress=False)
    assert seen["signal"] is False and abs(seen["permuted"]["z_score"]) < 3
    assert abs(seen["known"]["ari"]) < 0.1
    assert "no more signal than chance" in caplog.text


def test_clustering_is_not_tested_by_labels_that_it_chose(folder: Path) -> None:
    found, dataset = rounds_on(folder, env_method="clustering", env_level="session")
    seen = found.identify(0, dataset, show_progress=False)
    assert seen["signal"] is None and seen["heterogeneity"] is None


@pytest.mark.parametrize(("z_score", "signal"), [(2.9, False), (3.1, None)])
def test_clustering_without_a_difference_is_no_better_than_chance(
    folder: Path, z_score: float, signal: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "permuted_control", lambda *_: Control(1 + z_score, 1.0, 1.0))
    found, dataset = rounds_on(folder, env_method="clustering", env_level="session")
    assert found.identify(0, dataset, show_progress=False)["signal"] is signal


def test_spectral_identification_records_the_excess(folder: Path) -> None:
    found, dataset = rounds_on(folder, env_level="session")
    seen = found.identify(0, dataset, show_progress=False)
    assert set(seen["heterogeneity"]) == {"excess", "chance"}
    assert seen["history"][0]["objective"] is None and seen["history"][0]["reseeded"] == 0


def test_given_labels_do_not_move(folder: Path) -> None:
    found, dataset = rounds_on(folder, env_field="environment")
    assert found.identify(0, dataset, show_progress=False)["moved"] == 1.0
    assert found.identify(1, dataset, show_progress=False)["moved"] == 0.0


@pytest.mark.parametrize(("level", "field"), [("session", "session_id"), ("user", "user_id")])
def test_sessions_and_users_stay_together(folder: Path, level: str, field: str) -> None:
    found, dataset = rounds_on(folder, env_level=level, n_environments=3)
    for number in range(2):
        found.identify(number, dataset, show_progress=False)
        together = labels_by(field, found, dataset)
        assert len(together) == (80 if level == "session" else 40)
        assert all(len(labels) == 1 for labels in together.values())
    assert len(set(found.model.environment.tolist())) > 1


def test_single_interactions_do_not(folder: Path) -> None:
    found, dataset = rounds_on(folder, env_level="interaction", n_environments=3)
    found.identify(0, dataset, show_progress=False)
    assert any(len(labels) > 1 for labels in labels_by("user_id", found, dataset).values())


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
def test_the_first_round_looks_at_all_features_and_later_ones_at_the_variant_ones(
    folder: Path, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, dataset = rounds_on(folder, backbone=backbone, n_layers=2, env_level="user")
    received: list[torch.Tensor] = []
    variant: list[torch.Tensor | None] = []
    identify = rounds.identify_environments

    def spy(frozen: FrozenRecommender, *others: Any, **keywords: Any) -> Any:
        received.append(frozen.features)
        variant.append(keywords["variant"])
        return identify(frozen, *others, **keywords)

    monkeypatch.setattr(rounds, "identify_environments", spy)
    model = found.model
    mask = torch.linspace(0, 1, len(model.mask))
    found.identify(0, dataset, show_progress=False)
    model.mask.copy_(mask)
    found.identify(1, dataset, show_progress=False)
    x = model.content()
    _, seen = model.propagated(x.new_zeros(model.n_users, x.shape[1]), x)  # as the items' vectors contain them
    assert torch.equal(seen, x) == (backbone == "mf")
    assert torch.equal(received[0], seen) and torch.equal(received[1], seen)
    assert variant[0] is None
    assert torch.equal(variant[1], 1 - mask)


def test_after_a_refit_the_recommender_is_judged_by_both_branches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, dataset = rounds_on(folder, env_level="user", variant_training_weight=1.5)
    received: list[torch.Tensor] = []
    for name in ("identify_environments", "permuted_control"):
        search = getattr(rounds, name)

        def spy(frozen: Any, pairs: Any, projection: Any, *others: Any, by: Any = search, **keywords: Any) -> Any:
            received.append(projection.clone())
            return by(frozen, pairs, projection, *others, **keywords)

        monkeypatch.setattr(rounds, name, spy)
    model = found.model
    found.identify(0, dataset, show_progress=False)
    assert torch.equal(received[0], model.projection.weight) and torch.equal(received[1], model.projection.weight)
    model.mask.copy_(torch.linspace(0, 1, len(model.mask)))
    model.begin_final()
    found.identify(1, dataset, show_progress=False)
    both = model.projection.weight * model.mask + 1.5 * model.variant_projection.weight * (1 - model.mask)
    assert torch.allclose(received[2], both) and torch.allclose(received[3], both)


@pytest.mark.parametrize(("loss", "competing"), [("softmax", 24), ("bpr", 26), ("ultragcn", 26)])
def test_items_compete_as_they_do_in_training(folder: Path, loss: str, competing: int) -> None:
    """Two of the 26 items have no training interaction, which a softmax leaves out; negatives are drawn from all."""
    found, dataset = rounds_on(folder, rec_loss=loss, n_negatives=4, env_level="user")
    frozen = found.model.frozen()
    assert frozen.n_rivals == competing
    trained_on = set(dataset.inter_feat["item_id"].tolist())
    drawn = set(frozen.draw_rivals(None, torch.Generator()).tolist())
    assert (drawn == trained_on) == (loss == "softmax")


def test_a_repeated_pair_counts_once_in_the_weights_of_ultragcn(folder: Path) -> None:
    """As it does in the recommender's own loss."""
    found, dataset = rounds_on(folder, rec_loss="ultragcn", n_negatives=4)
    once = found.loss(dataset)
    twice = UltraGCNLoss.from_interactions(
        *(torch.cat([one, one[:50]]) for one in (dataset.inter_feat["user_id"], dataset.inter_feat["item_id"])),
        found.model.n_users,
        found.model.n_items,
    )
    own = found.model.objective.weights
    for loss in (once, twice):
        assert torch.allclose(loss.user_factor[1:], own.user[1:]) and torch.allclose(loss.item_factor, own.item)


def test_freed_memory_goes_back_while_the_mask_learns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, dataset = rounds_on(folder, env_field="environment", mask_steps=2 * rounds.TIDY + 1)
    times: list[int] = []
    monkeypatch.setattr(rounds, "return_freed_memory", lambda: times.append(1))
    found.identify(0, dataset, show_progress=False)
    before = len(times)
    found.generate_mask(0, dataset, show_progress=False)
    assert len(times) - before == 3  # after steps 1, 1 + TIDY and 1 + 2 TIDY


def test_a_threshold_makes_the_mask_hard(folder: Path) -> None:
    """The same search ends at the same place; the threshold then decides each dimension for good."""
    masks = {}
    for threshold in (None, 0.5, 0.0):
        found, dataset = rounds_on(folder, env_field="environment", mask_steps=6, mask_threshold=threshold)
        found.identify(0, dataset, show_progress=False)
        made = found.generate_mask(0, dataset, show_progress=False)
        masks[threshold] = found.model.mask.clone()
        assert made["mean"] == pytest.approx(float(found.model.mask.mean()))
    assert not set(masks[None].tolist()) <= {0.0, 1.0}
    assert torch.equal(masks[0.5], (masks[None] >= 0.5).float())
    assert set(masks[0.0].tolist()) == {1.0}


@pytest.mark.parametrize("loss", ["softmax", "bpr", "ultragcn"])
def test_the_mask_descends_the_recommenders_own_loss(folder: Path, loss: str) -> None:
    found, dataset = rounds_on(folder, rec_loss=loss, n_negatives=4, env_field="environment")
    kinds = {"softmax": "SoftmaxLoss", "bpr": "BPRLoss", "ultragcn": "UltraGCNLoss"}
    assert type(found.loss(dataset)).__name__ == kinds[loss]
    found.identify(0, dataset, show_progress=False)
    assert np.isfinite(found.generate_mask(0, dataset, show_progress=False)["erm"])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"env_field": "season"}, "env_field season needs a column 'season'.*only user_id, item_id, session_id"),
        ({"env_level": "session", "load_col": {"inter": ["user_id", "item_id"]}}, "needs a column 'session_id'"),
        ({"env_level": "user", "n_environments": 41}, "41 environments need as many units of env_level user.* have 40"),
    ],
)
def test_data_that_lack_something_are_refused_before_training(folder: Path, keys: dict, message: str) -> None:
    found, dataset = rounds_on(folder, **keys)
    with pytest.raises(UserError, match=message):
        found.check_data(dataset)


def test_one_given_environment_is_refused(folder: Path) -> None:
    board = write_checkerboard(folder / "data")
    path = board.folder / "board" / "board.train.inter"
    path.write_text(path.read_text().replace("\tb\n", "\ta\n"))
    keys = {**board.config(), **KEYS, **SMALL, "epochs": 2, "env_field": "environment"}
    with pytest.raises(UserError, match="env_field environment: 1 value in the training interactions"):
        run_recbole_painvrl("PaInvRL", "board", config_dict=keys)


def painvrl_run(board: Any, **more: Any) -> tuple[dict[str, Any], Path]:
    """Trains PaInvRL through the whole program and returns its result and its folder."""
    keys = {**board.config(), **KEYS, **SMALL, "epochs": 3, **more}
    result = run_recbole_painvrl("PaInvRL", "board", config_dict=keys)
    (run,) = (Path(keys.get("output_dir", "runs")) / "board" / "PaInvRL").iterdir()
    return result, run


def test_word_lists_are_a_modality_like_others(folder: Path) -> None:
    """Items are told apart by their words alone: after 12 epochs a user's best new items are of its own parity."""
    board = write_checkerboard(folder / "data")
    words = [f"{'even' if item % 2 == 0 else 'odd'} w{item}" for item in range(26)]
    items = pd.DataFrame({"item_id": [f"i{item}" for item in range(26)], "words": words})
    write_items(board.folder, board.name, items, {"words": "token_seq"})
    modalities = {"words": {"source": "words", "dimension": 5}}
    result, run = painvrl_run(board, modalities=modalities, epochs=12, warmup_epochs=4, topk=[3, 20])
    assert result["test_result"]["recall@3"] > 0.9  # at random 3 of 16 items: 0.19
    assert np.loadtxt(run / "mask.csv", delimiter=",", skiprows=1, usecols=2).shape == (5,)
    lists = recommend(run, topk=3)
    own = [int(one.user[1:]) % 2 == int(one.item[1:]) % 2 for one in lists]
    assert np.mean(own) > 0.9


def test_further_test_sets_do_not_look_at_each_other(folder: Path) -> None:
    """Each set gets the value that it gets as the only one; the third asks for the cold item of a user's parity."""
    board = write_checkerboard(folder / "data")
    cold = [(f"u{user}", f"i{24 + user % 2}", f"u{user}-cold", "cold") for user in range(40)]
    write_interactions(board.folder, board.name, pd.DataFrame(cold, columns=board.test.columns), "test_cold")
    names = ["test", "test_ood", "test_cold"]
    together, _ = painvrl_run(board, benchmark_filename=["train", "valid", *names], topk=[3, 20])
    assert list(together["test_results"]) == names
    for name in names:
        keys = {"benchmark_filename": ["train", "valid", name], "topk": [3, 20], "output_dir": f"only {name}"}
        alone, _ = painvrl_run(board, **keys)
        assert alone["best_valid_result"] == together["best_valid_result"]
        assert alone["test_result"] == together["test_results"][name], name


def test_a_round_can_be_repeated_and_the_next_draws_anew(folder: Path) -> None:
    """Every random number of a round comes from the seed and the round's number."""
    masks = []
    for seed, number in ((1, 0), (1, 0), (1, 1), (2, 0)):
        found, dataset = rounds_on(folder, env_field="environment", seed=seed)
        found.identify(0, dataset, show_progress=False)
        with torch.no_grad():  # the tables are the same for all seeds
            for parameter in found.model.parameters():
                parameter.copy_(torch.linspace(-0.1, 0.1, parameter.numel()).sin().view_as(parameter))
        found.generate_mask(number, dataset, show_progress=False)
        masks.append(found.model.mask.tolist())
    assert masks[0] == masks[1]
    assert len(set(map(tuple, masks))) == 3


def test_learned_axes_turn_the_model_before_the_mask(folder: Path) -> None:
    """The model's features, its projection and the mask's frozen tables are along the same orthogonal axes."""
    found, dataset = rounds_on(folder, env_field="environment", mask_axes="learned", mask_steps=3)
    plain, weight = found.model.content().detach().clone(), found.model.projection.weight.detach().clone()
    found.identify(0, dataset, show_progress=False)
    for number in range(2):
        assert np.isfinite(found.generate_mask(number, dataset, show_progress=False)["erm"])
    axes = torch.block_diag(*found.model.content.axes)
    torch.testing.assert_close(axes.T @ axes, torch.eye(len(axes)), rtol=0, atol=1e-5)
    assert not torch.allclose(axes.abs(), torch.eye(len(axes)), atol=1e-3)
    torch.testing.assert_close(found.model.content(), plain @ axes, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.model.projection.weight.detach(), weight @ axes, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("groups", "most"), [("modality", 1), (2, 2)])
def test_columns_of_a_group_share_a_gate(folder: Path, groups: str | int, most: int) -> None:
    found, dataset = rounds_on(folder, env_field="environment", mask_groups=groups, mask_steps=5)
    found.identify(0, dataset, show_progress=False)
    made = found.generate_mask(0, dataset, show_progress=False)
    assert all(1 <= len(set(values)) <= most for values in made["values"].values())


def test_a_mask_of_one_value_cannot_be_permuted(folder: Path) -> None:
    with pytest.raises(UserError, match="mask_groups: modality"):
        rounds_on(folder, control="mask", mask_groups="modality")
