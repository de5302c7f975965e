"""Every general recommender that RecBole ships trains, evaluates, is stored, reloaded and continued here."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import recbole.model.general_recommender
import torch
from recbole.data.utils import get_dataloader
from recbole.trainer.trainer import Trainer
from recbole.utils import init_seed

from recbole_painvrl import checkpoint
from recbole_painvrl.compat.models import NNCFRepairs
from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.utils import create_dataset, data_preparation, get_trainer, model_names
from tests.inputs import write_interactions

_FILES = {module.name for module in pkgutil.iter_modules(recbole.model.general_recommender.__path__)}
MODELS = [name for name in model_names() if name.lower() in _FILES]
# What makes the stages of these models short.
SHORT: dict[str, dict[str, Any]] = {
    "RaCT": {"pretrain_epochs": 1},
    "NCL": {"warm_up_step": 0, "num_clusters": 5},
    "NNCF": {"num_conv_kernel": 8, "mlp_hidden_size": [16]},
    "ADMMSLIM": {"k": 10},
    "ConvNCF": {"embedding_size": 16, "cnn_channels": [1, 4, 4], "cnn_kernels": [4, 4], "cnn_strides": [4, 4]},
}
# Learn nothing but popularity or nothing at all, or need more than one epoch to learn anything.
PERSONAL = {"EASE", "ItemKNN", "SLIMElastic", "ADMMSLIM", "AsymKNN", "NCEPLRec"}


@pytest.fixture(scope="module")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 users who like 15 of the 25 items of their parity each."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    liked = [(u, i) for u in range(60) for i in random.choice(np.arange(u % 2, 50, 2), 15, replace=False)]
    write_interactions(
        folder, "tiny", pd.DataFrame([(f"u{u}", f"i{i}") for u, i in liked], columns=["user_id", "item_id"])
    )
    return folder


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # RecBole's trainers write to the work folder


def build(name: str, data_path: Path, **settings: Any) -> tuple[Trainer, Any, Any, Any]:
    """Returns a trainer of a new model and the loaders of training, validation and test."""
    given = {"data_path": str(data_path), "epochs": 1, "show_progress": False, "train_batch_size": 128}
    config = Config(name, "tiny", config_dict={**given, **SHORT.get(name, {}), **settings})
    init_seed(config["seed"], True)
    loaders = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], True)
    return get_trainer(config)(config, config.model_class(config, loaders[0]._dataset)), *loaders


def test_all_of_them_are_here() -> None:
    assert len(MODELS) == len(_FILES) == 33


@pytest.mark.parametrize("name", MODELS)
def test_trains_and_reloads_with_equal_scores(name: str, data_path: Path) -> None:
    trainer, train, valid, test = build(name, data_path)
    score, result = trainer.fit(train, valid, verbose=False)
    assert result and 0 <= score <= 1
    tested = trainer.evaluate(test)
    assert all(0 <= value <= 1 for value in tested.values())
    if name in PERSONAL:
        assert tested["ndcg@10"] > 0.3  # they know the parity after one pass; chance is about 0.1
    assert torch.load(trainer.saved_model_file, weights_only=True)["config"]["model"] == name

    again, *_ = build(name, data_path)
    assert again.evaluate(test, model_file=trainer.saved_model_file) == tested

    trainer.config["eval_batch_size"] = 1
    one_user = get_dataloader(trainer.config, "test")(trainer.config, test._dataset, test._sampler, shuffle=False)
    assert one_user.step == 1
    assert trainer.evaluate(one_user, load_best_model=False) == pytest.approx(tested, abs=1e-3)  # NNCF's ties


@pytest.mark.parametrize("name", ["LINE", "NCL", "NNCF", "DiffRec", "LDiffRec", "RecVAE", "MultiVAE", "SGL"])
def test_two_and_two_epochs_are_four(name: str, data_path: Path) -> None:
    """These keep a state outside of their parameters."""
    straight, train, valid, test = build(name, data_path, epochs=4)
    straight.fit(train, valid, saved=False, verbose=False)
    first, train, valid, _ = build(name, data_path, epochs=2)
    first.fit(train, valid, saved=False, verbose=False)
    first._save_checkpoint(1, verbose=False, saved_model_file="half.pth")
    second, train, valid, test = build(name, data_path, epochs=4)
    second.resume_checkpoint("half.pth")
    second.fit(train, valid, saved=False, verbose=False)
    assert second.train_loss_dict == straight.train_loss_dict
    ours, theirs = second.model.state_dict(), straight.model.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert second.evaluate(test, load_best_model=False) == straight.evaluate(test, load_best_model=False)


def test_ncl_uses_its_clusters(data_path: Path) -> None:
    trainer, train, valid, _ = build("NCL", data_path, num_clusters=5)
    trainer.fit(train, valid, saved=False, verbose=False)
    assert trainer.model.user_centroids.shape == (5, 64)
    assert sorted(set(trainer.model.item_2cluster.tolist())) == list(range(5))
    few, train, *_ = build("NCL", data_path)  # RecBole's default is 1000 clusters
    few.config["num_clusters"], few.model.k = 1000, 1000
    few.model.e_step()
    assert len(few.model.user_centroids) == few.model.n_users


def test_ract_goes_through_its_stages(data_path: Path) -> None:
    file, scores = "", []
    for stage in ("actor_pretrain", "critic_pretrain", "finetune"):
        trainer, train, valid, test = build("RaCT", data_path, train_stage=stage, pre_model_path=file)
        trainer.fit(train, valid, verbose=False)
        file = trainer.saved_model_file
        assert Path(file).is_file() and trainer.best_valid_result
        scores.append(trainer.evaluate(test)["ndcg@10"])
    assert scores[0] == scores[1]  # the critic's stage does not touch the actor


def test_neumf_starts_from_pretrained_parts(data_path: Path) -> None:
    files = {}
    for part in ("mf", "mlp"):
        trainer, train, valid, _ = build("NeuMF", data_path, mf_train=part == "mf", mlp_train=part == "mlp")
        trainer.fit(train, valid, verbose=False)
        files[part] = f"{part}.pth"
        Path(trainer.saved_model_file).rename(files[part])
    settings = {"use_pretrain": True, "mf_pretrain_path": files["mf"], "mlp_pretrain_path": files["mlp"]}
    trainer, *_ = build("NeuMF", data_path, **settings)
    stored = checkpoint.load(files["mf"])["state_dict"]["user_mf_embedding.weight"]
    assert torch.equal(trainer.model.user_mf_embedding.weight, stored)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("NeuMF", {"use_pretrain": True, "mf_pretrain_path": "a.pth", "mlp_pretrain_path": "a.pth"}),
        ("ConvNCF", {"train_method": "after_pretrain", "pre_model_path": "a.pth"}),
        ("NAIS", {"pretrain_path": "a.pth"}),
        ("RaCT", {"train_stage": "finetune", "pre_model_path": "a.pth"}),
    ],
)
@pytest.mark.parametrize("content", [None, "RecBole's", "another model's"])
def test_unusable_pretrained_files_are_told(
    name: str, settings: dict[str, Any], content: str | None, data_path: Path
) -> None:
    if content == "RecBole's":
        torch.save({"config": Config("BPR", "ml-100k"), "state_dict": {}}, "a.pth", pickle_protocol=4)
    elif content:
        torch.save({"state_dict": {"weight": torch.zeros(1)}}, "a.pth")
    with pytest.raises(UserError, match=rf"{name} cannot start from its pretrained files .*a\.pth"):
        build(name, data_path, **settings)


def test_louvain_asks_for_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install networkx"):
        NNCFRepairs({"neigh_info_method": "louvain"}, None)
