"""InvRL's rounds: weights that grow, the published code's ways, and exact continuation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_painvrl.experiment import Interrupted
from recbole_painvrl.invariance import MaskSettings
from recbole_painvrl.quick_start import resume, run_recbole_painvrl
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.trainer import RunMixin, invrl_trainer, rounds
from recbole_painvrl.trainer.environment_models import EnvironmentModels, FromScratch
from recbole_painvrl.trainer.invrl_trainer import InvRLRounds, InvRLTrainer
from recbole_painvrl.utils import get_model, get_trainer
from tests.inputs import write_checkerboard
from tests.trainer.test_painvrl_trainer import artifacts
from tests.trainer.test_run_trainer import STAGES, configuration, started, trained

SMALL = {
    **STAGES,
    "use_gpu": False,
    "n_negatives": 4,
    "env_epochs": 1,
    "negative_weight": 4.0,
    "loss_weights": [1.0] * 4,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_has_a_trainer_of_its_own() -> None:
    assert get_trainer(get_model("InvRL")) is InvRLTrainer
    assert InvRLTrainer.rounds_class is InvRLRounds


def test_the_weight_grows_from_round_to_round(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    search = rounds.generate_mask

    def spy(*arguments: Any, **keywords: Any) -> Any:
        seen.extend(one for one in arguments if isinstance(one, MaskSettings))
        return search(*arguments, **keywords)

    monkeypatch.setattr(rounds, "generate_mask", spy)
    keys = {**SMALL, "n_rounds": 3, "irm_weight": 8.0, "weight_growth": 1.5}
    trained(configuration("InvRL", folder, 2, **keys))
    assert [one.pareto.irm_weight for one in seen] == [8.0, 12.0, 18.0]
    assert {(one.pareto.solver, one.penalty) for one in seen} == {("fixed", "gv")}


def test_so_do_the_published_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []
    search = invrl_trainer.squared_variance_mask

    def spy(*arguments: Any) -> Any:
        seen.append(arguments[6])
        return search(*arguments)

    monkeypatch.setattr(invrl_trainer, "squared_variance_mask", spy)
    weights = {"faithful_irm_weight": 2.0, "faithful_gate_weight": 4.0, "weight_growth": 1.5}
    trained(configuration("InvRL", folder, 2, **{**SMALL, "n_rounds": 2}, **weights, faithful=True))
    assert seen == [(2.0, 4.0), (3.0, 6.0)]


# environments by whole models


def models_on(folder: Path, number: int = 0, **settings: Any) -> tuple[EnvironmentModels, Any]:
    """A search of environments on an untrained InvRL."""
    trainer, data = started(configuration("InvRL", folder, 2, **SMALL), None)
    pairs = rounds.interactions(data.train.dataset, trainer.model.device)
    keys = {"n_environments": 2, "epochs": 1, "max_iter": 2, "tolerance": 0.0, "learning_rate": 0.02}
    chosen = FromScratch(**{**keys, "batch_size": 64, "n_negatives": 4, "seed": 5, **settings})
    return EnvironmentModels(trainer.model, pairs, None, chosen, number), trainer.model


def test_the_model_is_only_lent(folder: Path) -> None:
    search, model = models_on(folder)
    model.mask.copy_(torch.linspace(0, 1, len(model.mask)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows: list[dict] = []
    found = search.run(rows.append)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert rows == found.history and len(rows) == 2
    assert sum(rows[-1]["sizes"]) == 360 == len(found.labels)
    assert found.projections.shape == (2, *model.projection.weight.shape)
    assert not torch.equal(found.projections[0], found.projections[1])


def test_environments_share_the_word_vectors_of_the_warm_up(folder: Path) -> None:
    words = {"title": {"source": "words", "field": "parity", "dimension": 6}, "spurious": {"source": "npy"}}
    trainer, data = started(configuration("InvRL", folder, 2, **SMALL, modalities=words), None)
    table = trainer.model.content.tables["title"].weight
    with torch.no_grad():
        table.add_(1.0)
    learned, pairs = table.detach().clone(), rounds.interactions(data.train.dataset, trainer.model.device)
    search = EnvironmentModels(trainer.model, pairs, None, trainer.rounds._from_scratch(), 0)
    seen: list[bool] = []
    scores = search._scores

    def spy() -> torch.Tensor:
        seen.append(torch.equal(table, learned))
        return scores()

    search._scores = spy
    search.run(lambda row: None)
    assert seen and all(seen)
    assert table.requires_grad and torch.equal(table, learned)


def test_equal_seeds_give_equal_environments(folder: Path) -> None:
    labels = [models_on(folder, seed=seed)[0].run(lambda row: None).labels.tolist() for seed in (5, 5, 6)]
    assert labels[0] == labels[1] != labels[2]


def test_a_model_memorizes_its_members(folder: Path) -> None:
    """Even random halves are scored higher by the model that was trained on them."""
    search, _ = models_on(folder, epochs=60, learning_rate=0.05)
    members = search.labels == 0
    search._fit(members.nonzero().flatten())
    scores = search._scores()
    assert float(scores[members].mean()) > float(scores[~members].mean()) + 0.5


def test_an_environment_without_members_starts_again_from_a_random_part(folder: Path) -> None:
    search, _ = models_on(folder, n_environments=3, max_iter=1)
    search.labels.zero_()
    found = search.run(lambda row: None)
    assert found.history[0]["reseeded"] == 2
    assert torch.isfinite(found.projections).all()


def test_interactions_of_a_unit_stay_together(folder: Path) -> None:
    search, _ = models_on(folder)
    users = search.pairs.users
    together = EnvironmentModels(search.model, search.pairs, users, search.settings, 0).run(lambda row: None)
    assert all(len(together.labels[users == user].unique()) == 1 for user in users.unique())


# exact continuation


def run_keys(folder: Path, faithful: bool) -> dict[str, Any]:
    stages = {"warmup_epochs": 1, "n_rounds": 2, "faithful": faithful, "env_level": "session", "env_tolerance": 0.0}
    sizes = {"embedding_size": 8, "feature_size": 4, "train_batch_size": 64, "epochs": 3}
    return write_checkerboard(folder / "data").config(**{**SMALL, **stages, **sizes})


@pytest.fixture(scope="module", params=[False, True], ids=["default", "faithful"])
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, dict[str, Any]]:
    """What three epochs without an interruption leave."""
    place = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run_recbole_painvrl("InvRL", "board", config_dict=run_keys(place, request.param))
    (run,) = (place / "runs" / "board" / "InvRL").iterdir()
    return request.param, artifacts(run)


def stop_at(title: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Interrupts at the second step that the stage with this title reports."""

    def install(patch: pytest.MonkeyPatch) -> None:
        class Bar:
            def __init__(self, desc: str, **keywords: Any) -> None:
                self.title, self.steps = " ".join(desc.split()), 0

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *problem: object) -> None:
                return None

            def update(self) -> None:
                self.steps += 1
                if self.title == title and self.steps == 2:
                    raise KeyboardInterrupt

        patch.setattr(rounds, "tqdm", Bar)

    return install


@pytest.mark.parametrize("stage", ["Identify 0", "Identify 1", "Mask 1"])
def test_a_run_continues_bit_for_bit(
    folder: Path, straight: tuple[bool, dict], stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    faithful, expected = straight
    with monkeypatch.context() as patch:
        stop_at(stage)(patch)
        patch.setattr(RunMixin, "_worth_saving", lambda trainer: True)
        with pytest.raises(Interrupted) as interruption:
            run_recbole_painvrl("InvRL", "board", config_dict=run_keys(folder, faithful))
    run = interruption.value.folder
    assert not (run / "done").exists()
    resume(run)
    found = artifacts(run)
    for name, value in expected.items():
        assert found[name] == value, name
    events = [record["event"] for record in RunFolder(run).records()]
    training = [event for event in events if event in ("train", "valid", "identification", "mask")]
    assert training[:8] == ["train", "valid", *["identification", "mask"] * 2, "train", "valid"]
