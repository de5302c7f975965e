"""The training loader: coverage, order, negatives, continuation, shares of several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer

from recbole_painvrl.data.dataloader import TrainLoader
from recbole_painvrl.data.dataset import GeneralDataset
from recbole_painvrl.errors import UserError
from tests.inputs import Board


@pytest.fixture
def train(board: Board, load: Callable) -> GeneralDataset:
    return load(board.name, board.config(), GeneralDataset).build()[0]


def keys(train: GeneralDataset, **more: Any) -> dict[str, Any]:
    """Returns what a loader reads of the configuration, with 7 interactions a step."""
    names = ("seed", "shuffle", "train_neg_sample_args", "n_negatives", "rec_loss", "batch_by")
    return {name: train.config[name] for name in names} | {"train_batch_size": 7} | more


def make(train: GeneralDataset, n_negatives: int = 3, reject: bool = False, **more: Any) -> TrainLoader:
    return TrainLoader(keys(train, **more), train, n_negatives, reject)


def epoch(loader: TrainLoader) -> dict[str, torch.Tensor]:
    """Returns the columns of a whole epoch."""
    batches = [batch.interaction for batch in loader]
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_an_epoch_covers_each_row_once_with_its_user_and_item(train: GeneralDataset) -> None:
    loader = make(train)
    columns = epoch(loader)
    assert columns["row"].sort().values.tolist() == list(range(len(train)))
    for field in ("user_id", "item_id"):
        assert torch.equal(columns[field], train.inter_feat[field][columns["row"]])
    assert columns["negatives"].shape == (len(train), 3)
    assert columns["negatives"].min() >= 1 and columns["negatives"].max() < train.item_num


def test_batches_are_equally_large_and_none_is_larger_than_asked_for(train: GeneralDataset) -> None:
    loader = make(train)
    sizes = [len(batch) for batch in loader]
    assert len(train) == 360 and len(loader) == len(sizes) == 52
    assert sum(sizes) == 360 and set(sizes) == {6, 7}


def test_epochs_differ_and_seeds_decide(train: GeneralDataset) -> None:
    one, other = make(train), make(train)
    first, second = epoch(one), epoch(one)
    assert not same(first, second)
    assert same(first, epoch(other)) and same(second, epoch(other))
    assert not same(first, epoch(make(train, seed=1)))


def test_negatives_do_not_move_the_order(train: GeneralDataset) -> None:
    many, none = make(train, 5), make(train, 0)
    for _ in range(2):
        without = epoch(none)
        assert torch.equal(epoch(many)["row"], without["row"]) and "negatives" not in without


def test_the_state_of_the_generator_continues_exactly(train: GeneralDataset) -> None:
    straight, resumed = make(train), make(train)
    epoch(straight)
    resumed.generator.set_state(straight.generator.get_state())
    assert same(epoch(straight), epoch(resumed))


def test_without_shuffle_the_order_is_that_of_the_file(train: GeneralDataset) -> None:
    assert epoch(make(train, shuffle=False))["row"].tolist() == list(range(len(train)))


def test_rejected_negatives_are_not_in_training(train: GeneralDataset) -> None:
    columns = epoch(make(train, 20, reject=True))
    known = set(zip(train.inter_feat["user_id"].tolist(), train.inter_feat["item_id"].tolist(), strict=True))
    users = columns["user_id"].repeat_interleave(20).tolist()
    assert not known & set(zip(users, columns["negatives"].flatten().tolist(), strict=True))


def test_the_configuration_gives_the_negatives(train: GeneralDataset) -> None:
    bpr = TrainLoader(keys(train, n_negatives=4, rec_loss="bpr"), train)
    assert next(iter(bpr))["negatives"].shape == (7, 4) and bpr.unknown is not None
    assert TrainLoader(keys(train, n_negatives=4, rec_loss="softmax"), train).unknown is None
    assert "negatives" not in next(iter(TrainLoader(keys(train), train)))


def test_what_recbole_asks_of_a_loader(train: GeneralDataset) -> None:
    loader = make(train)
    assert loader.dataset.item_counter and loader.dataset.num("item_id") == 27 and loader.shuffle
    assert next(iter(loader)).to("cpu")["row"].shape == (7,)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"train_batch_size": 0}, "train_batch_size: 0"),
        ({"train_batch_size": "many"}, "train_batch_size: 'many'"),
        ({"train_neg_sample_args": {"dynamic": True}}, "train_neg_sample_args"),
    ],
)
def test_what_cannot_be_honored_is_refused(train: GeneralDataset, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(train, **more)


def test_recbole_trains_on_it(board: Board, load: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FewNegatives(BPR):
        def calculate_loss(self, interaction: Interaction) -> torch.Tensor:
            one = {"user_id": interaction["user_id"], "item_id": interaction["item_id"]}
            return super().calculate_loss(Interaction(one | {"neg_item_id": interaction["negatives"][:, 0]}))

    monkeypatch.chdir(tmp_path)  # RecBole writes its TensorBoard files into the working directory
    dataset = load(board.name, board.config(epochs=20, checkpoint_dir=str(tmp_path / "saved")), GeneralDataset)
    train = dataset.build()[0]
    trainer = Trainer(dataset.config, FewNegatives(dataset.config, train))
    trainer.fit(TrainLoader(dataset.config, train, 1, True), saved=False, verbose=False)
    assert trainer.train_loss_dict[19] < trainer.train_loss_dict[0]


def test_batches_by_user_keep_a_users_rows_together(train: GeneralDataset) -> None:
    """Each row comes once, each user's rows in one piece, and another epoch orders the users differently."""
    loader = make(train, n_negatives=0, batch_by="user")
    first, second = epoch(loader), epoch(loader)
    assert first["row"].sort().values.tolist() == list(range(len(train)))
    pieces = torch.unique_consecutive(first["user_id"])
    assert len(pieces) == train.user_num - 1
    assert not torch.equal(pieces, torch.unique_consecutive(second["user_id"]))


def test_an_unknown_order_is_refused(train: GeneralDataset) -> None:
    with pytest.raises(UserError, match="batch_by"):
        make(train, batch_by="item")
