"""From names to classes, and loaders that mask what they should and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import recbole.trainer
from recbole.data.dataloader import FullSortEvalDataLoader, TrainDataLoader
from recbole.data.dataset import KnowledgeBasedDataset, SequentialDataset
from recbole.data.utils import create_samplers
from recbole.model.general_recommender import BPR, NCL

from recbole_painvrl.compat import DatasetRepairs
from recbole_painvrl.config import Config
from recbole_painvrl.data.dataloader import TrainLoader
from recbole_painvrl.data.dataset import GeneralDataset, MultimodalDataset
from recbole_painvrl.data.preparation import further_test_loaders
from recbole_painvrl.errors import UserError
from recbole_painvrl.trainer.run_trainer import RunMixin
from recbole_painvrl.utils import (
    _dataset_class,
    create_dataset,
    data_preparation,
    get_model,
    get_trainer,
    model_names,
)
from tests.inputs import Board, write_checkerboard, write_interactions

# (user, item) -> part; user 1 has items everywhere, i5 and i6 occur in no training row.
PARTS = {
    "train": [("u1", "i1"), ("u1", "i2"), ("u2", "i1"), ("u2", "i3"), ("u3", "i4"), ("u2", "i7")],
    "valid": [("u1", "i3"), ("u3", "i1")],
    "test": [("u1", "i4"), ("u1", "i5"), ("u2", "i2")],
    "test_a": [("u1", "i6"), ("u3", "i5")],
    "test_b": [("u1", "i4")],
}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return write_checkerboard(tmp_path_factory.mktemp("data"))


def split_config(folder: Path, **settings: Any) -> Config:
    for part, rows in PARTS.items():
        write_interactions(folder, "split", pd.DataFrame(rows, columns=["user_id", "item_id"]), part)
    return Config(
        "BPR",
        "split",
        config_dict={"data_path": str(folder), "benchmark_filename": list(PARTS), "topk": [2], **settings},
    )


def masked(loader: FullSortEvalDataLoader) -> dict[str, tuple[set[str], set[str]]]:
    """Returns for each user token what is hidden from the ranking and what counts as right, as item tokens."""
    dataset = loader._dataset

    def items(ids: Any) -> set[str]:
        return set(dataset.id2token(dataset.iid_field, ids.numpy()))

    return {
        dataset.id2token(dataset.uid_field, int(uid)): (
            items(loader.uid2history_item[uid]),
            items(loader.uid2positive_item[uid]),
        )
        for uid in loader.uid_list.numpy()
    }


# ---- names


def test_our_models_come_first_and_names_are_told_apart_by_case() -> None:
    assert get_model("UltraGCN").__module__ == "recbole_painvrl.model.general_recommender.ultragcn"
    assert get_model("BPR") is BPR
    assert issubclass(get_model("NCL"), NCL)
    for name in ("bpr", "lightgcn", "NoSuchModel", "../bpr", ""):
        with pytest.raises(UserError):
            get_model(name)


def test_every_listed_model_can_be_got() -> None:
    names = model_names()
    assert {"PaInvRL", "BPR", "LightGCN", "Random", "SASRec", "KGAT"} <= set(names)
    assert all(get_model(name).__name__ == name for name in names)


def test_trainers() -> None:
    for name, stock in (
        ("BPR", "Trainer"),
        ("Pop", "TraditionalTrainer"),
        ("RecVAE", "RecVAETrainer"),
        ("KGAT", "KGATTrainer"),
    ):
        trainer = get_trainer(get_model(name))
        assert issubclass(trainer, RunMixin) and issubclass(trainer, getattr(recbole.trainer, stock))
        assert trainer is get_trainer(get_model(name))
    assert get_trainer(Config("BPR", "ml-100k")) is get_trainer(BPR)
    assert get_trainer(get_model("PaInvRL")).__module__.startswith("recbole_painvrl.trainer.")


def test_dataset_classes() -> None:
    for name, kind in (("BPR", GeneralDataset), ("SASRec", SequentialDataset), ("KGAT", KnowledgeBasedDataset)):
        model_class = get_model(name)
        dataset_class = _dataset_class(model_class, model_class.type)
        assert issubclass(dataset_class, kind) and issubclass(dataset_class, DatasetRepairs)
    assert _dataset_class(get_model("UltraGCN"), get_model("UltraGCN").type) is MultimodalDataset


# ---- data


def test_loaders_of_our_models(board: Board) -> None:
    config = Config("UltraGCN", board.name, config_dict=board.config())
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    assert isinstance(train, TrainLoader) and train.n_negatives == config["n_negatives"]
    assert isinstance(valid, FullSortEvalDataLoader) and len(test._dataset) == len(board.test)


def test_loaders_of_recboles_models(board: Board) -> None:
    config = Config("BPR", board.name, config_dict=board.config())
    train, valid, _ = data_preparation(config, create_dataset(config))
    assert isinstance(train, TrainDataLoader) and len(train._dataset) == len(board.train)
    assert valid.step >= 40  # all users in one batch


def test_test_loaders_mask_training_and_validation_alone(tmp_path: Path) -> None:
    config = split_config(tmp_path)
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    further = further_test_loaders(config, dataset, train, valid)
    assert list(further) == ["test_a", "test_b", "test:warm", "test:cold"]
    known = {"i1", "i2", "i3"}
    assert masked(valid)["u1"] == ({"i1", "i2"}, {"i3"})
    assert masked(test) == {"u1": (known, {"i4", "i5"}), "u2": ({"i1", "i3", "i7"}, {"i2"})}
    assert masked(further["test_a"]) == {"u1": (known, {"i6"}), "u3": ({"i4", "i1"}, {"i5"})}
    assert masked(further["test_b"]) == {"u1": (known, {"i4"})}
    assert masked(further["test:warm"]) == {"u1": (known, {"i4"}), "u2": ({"i1", "i3", "i7"}, {"i2"})}
    assert masked(further["test:cold"]) == {"u1": (known, {"i5"})}


def test_recboles_fourth_phase_would_mask_the_third(tmp_path: Path) -> None:
    """The reason for building a sampler for each test set."""
    from recbole.sampler import Sampler

    config = split_config(tmp_path)
    dataset = create_dataset(config)
    parts = dataset.build()
    sampler = Sampler(["train", "valid", "test", "test_a"], [*parts, dataset.further_tests["test_a"]])
    loader = FullSortEvalDataLoader(config, dataset.further_tests["test_a"], sampler.set_phase("test_a"))
    assert masked(loader)["u1"][0] == {"i1", "i2", "i3", "i4", "i5"}
    assert create_samplers(config, dataset, parts)[2].phase == "test"


def test_sampled_candidates_avoid_the_positives_of_that_test_set(tmp_path: Path) -> None:
    config = split_config(tmp_path, eval_args={"mode": "uni2"}, topk=[1])
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    loader = further_test_loaders(config, dataset, train, valid)["test_a"]
    user = dataset.token2id("user_id", "u1")
    used = set(dataset.id2token("item_id", sorted(loader._sampler.used_ids[user])))
    assert used == {"i1", "i2", "i3", "i6"}
    before = set(dataset.id2token("item_id", sorted(valid._sampler.used_ids[user])))
    assert before == {"i1", "i2", "i3"}  # the validation sampler has not been changed


def test_warm_and_cold_parts_only_if_there_are_both(board: Board) -> None:
    config = Config("BPR", board.name, config_dict=board.config())
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    assert list(further_test_loaders(config, dataset, train, valid)) == ["test_ood"]


@pytest.mark.parametrize("empty", ["train", "valid", "test"])
def test_empty_part_is_refused(empty: str, tmp_path: Path) -> None:
    ratios = {"train": [0, 0.5, 0.5], "valid": [0.5, 0, 0.5], "test": [0.5, 0.5, 0]}[empty]
    frame = pd.DataFrame([(f"u{i}", f"i{j}") for i in range(4) for j in range(20)], columns=["user_id", "item_id"])
    write_interactions(tmp_path, "whole", frame)
    settings = {"data_path": str(tmp_path), "eval_args": {"split": {"RS": ratios}}}
    config = Config("BPR", "whole", config_dict=settings)
    with pytest.raises(UserError, match=rf"dataset 'whole': the {empty}\w* part is empty"):
        data_preparation(config, create_dataset(config))


def test_labels_without_a_positive_are_refused(tmp_path: Path) -> None:
    rows = [(f"u{i}", f"i{j}", 1) for i in range(4) for j in range(20)]
    write_interactions(tmp_path, "low", pd.DataFrame(rows, columns=["user_id", "item_id", "rating"]))
    settings = {"data_path": str(tmp_path), "load_col": None, "threshold": {"rating": 3}}
    config = Config("BPR", "low", config_dict=settings)
    with pytest.raises(UserError, match="no positive 'label'"):
        data_preparation(config, create_dataset(config))


def test_topk_beyond_the_items_is_refused(tmp_path: Path) -> None:
    config = split_config(tmp_path, topk=[8])
    with pytest.raises(UserError, match="topk: 8 is more than the 7 items"):
        data_preparation(config, create_dataset(config))


def test_no_pickle_is_read(tmp_path: Path, board: Board) -> None:
    """RecBole loads these two files if they lie in the checkpoint folder, asked for or not."""
    settings = {**board.config(), "checkpoint_dir": str(tmp_path)}
    config = Config("BPR", board.name, config_dict=settings)
    for name in (
        f"{board.name}-GeneralDataset.pth",
        f"{board.name}-Dataset.pth",
        f"{board.name}-for-BPR-dataloader.pth",
    ):
        (tmp_path / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    data_preparation(config, create_dataset(config))
