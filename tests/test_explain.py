"""The parts of a score add up to it, each is what its formula says, and past items are compared by the part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl import cli
from recbole_painvrl.config import Config
from recbole_painvrl.errors import UserError
from recbole_painvrl.explain import Explainer, Explanation, as_json, as_text, explain, most_alike
from recbole_painvrl.model.parts import ScorePart, score_parts
from recbole_painvrl.quick_start import load_data_and_model, run_recbole_painvrl
from recbole_painvrl.recommend import all_scores, recommend
from recbole_painvrl.utils import create_dataset, data_preparation, get_model
from tests.inputs import Board, write_checkerboard, write_features
from tests.model.models import to_final

SCRIPT = Path(__file__).resolve().parent.parent / "run_recbole_painvrl.py"
WITHOUT = ("i3", "i20", "i24")  # items without features in the modality spurious; nobody has i24
STAGES = ("ERM", "UltraGCN", "warm-up", "final", "InvRL")
PROFILES = ((0.0, 0.0), (0.4, 0.7), (0.0, 0.7))  # weights for known and for new items


def board_with_gaps(folder: Path) -> Board:
    """A checkerboard of which some items lack one modality."""
    board = write_checkerboard(folder)
    stem = folder / "board" / "board.spurious"
    tokens, values = stem.with_suffix(".spurious.ids").read_text().split(), np.load(f"{stem}.npy")
    kept = [row for row, token in enumerate(tokens) if token not in WITHOUT]
    write_features(folder, "board", "spurious", [tokens[row] for row in kept], values[kept])
    return board


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return board_with_gaps(tmp_path_factory.mktemp("explain"))


def made(board: Board, stage: str, mask: torch.Tensor | None = None, **keys: Any) -> SimpleNamespace:
    """A model with drawn parameters, in the stage of that name, with its data."""
    name = stage if stage in ("ERM", "UltraGCN", "MF", "InvRL") else "PaInvRL"
    settings = {"use_gpu": False, "embedding_size": 8, "init_std": 0.5, **keys}
    config = Config(name, board.name, config_dict=board.config(**settings))
    dataset = create_dataset(config)
    train, valid, *_ = data_preparation(config, dataset)
    model = get_model(name)(config, train.dataset)
    if stage == "final":
        to_final(model, mask)
    elif stage == "InvRL":
        model.mask.copy_(torch.linspace(0, 1, 8))
        model.begin_final()
    if getattr(model, "feature_size", 0):
        torch.nn.init.normal_(model.projection.bias, generator=torch.Generator().manual_seed(3))
    model.eval()
    return SimpleNamespace(model=model, dataset=dataset, train=train._dataset, valid=valid._dataset)


def explainer(one: SimpleNamespace) -> Explainer:
    return Explainer(one.model, one.dataset, one.train, one.valid)


def by_name(model: Any) -> dict[str, ScorePart]:
    return {str(part.name): part for part in score_parts(model)}


def every(part: ScorePart) -> torch.Tensor:
    """The part of every user's score of every item but the padding."""
    return (part.users @ part.items.T)[1:, 1:]


def check_sum(one: SimpleNamespace) -> None:
    users = torch.arange(1, one.dataset.user_num)
    scores = all_scores(one.model, one.dataset, users)[:, 1:]
    total = sum(every(part) for part in score_parts(one.model))
    assert scores.std() > 0.05
    assert torch.allclose(total, scores, rtol=1e-4, atol=1e-5 * float(scores.abs().max()))


@pytest.mark.parametrize("new_items", ["id", "content", "neighbors"])
@pytest.mark.parametrize("stage", STAGES)
def test_parts_add_up_to_the_score(board: Board, stage: str, new_items: str) -> None:
    """With inner products and cosines, propagation and profiles or not, for new items and items without features."""
    graphs, temperatures = ({"backbone": "mf"}, {"backbone": "lightgcn", "n_layers": 2}), (None, 0.2)
    far = {"new_item_neighbors": 20, "new_item_length": 0.6, "profile_weight": 1.0}  # so far that some are unlike
    for graph, temperature in product(graphs, temperatures):
        one = made(board, stage, new_items=new_items, temperature=temperature, **graph, **far)
        for known, new in PROFILES:
            one.model.profile_weight, one.model.new_item_profile_weight = known, new
            one.model.eval()  # forgets its tables
            check_sum(one)
            assert any(part.name.kind == "profile" for part in score_parts(one.model)) == bool(known or new)


@pytest.mark.parametrize("temperature", [None, 0.2])
def test_matrix_factorization_is_all_id(board: Board, temperature: float | None) -> None:
    one = made(board, "MF", temperature=temperature)
    check_sum(one)
    assert list(by_name(one.model)) == ["id"]


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_parts_add_up_at_any_rho(board: Board, rho: float) -> None:
    check_sum(made(board, "final", variant_weight=rho, profile_weight=0.4, new_item_profile_weight=0.7))


@pytest.mark.parametrize("axes", ["learned", "features"])
def test_word_tables_and_learned_axes_add_up_too(board: Board, axes: str) -> None:
    modalities = {"invariant": {"source": "npy"}, "words": {"source": "words", "field": "parity", "dimension": 4}}
    one = made(board, "final", modalities=modalities, mask_axes=axes, profile_weight=0.3, load_col=None)
    if axes == "learned":
        one.model.turn([torch.linalg.qr(torch.rand(4, 4, generator=torch.Generator().manual_seed(4)))[0]] * 2)
    check_sum(one)
    assert "words invariant" in by_name(one.model)


def test_without_modalities_all_is_id(board: Board) -> None:
    one = made(board, "ERM", modalities={})
    check_sum(one)
    assert list(by_name(one.model)) == ["id"]


def test_the_parts_of_each_stage(board: Board) -> None:
    plain = ["id", "invariant", "spurious", "bias"]
    halves = [f"{name} {branch}" for name in ("invariant", "spurious") for branch in ("invariant", "variant")]
    for stage in ("ERM", "UltraGCN", "warm-up"):
        assert list(by_name(made(board, stage).model)) == plain
    assert list(by_name(made(board, "final").model)) == ["id", *halves, "bias"]
    assert list(by_name(made(board, "InvRL").model)) == ["id", "invariant invariant", "spurious invariant", "bias"]
    assert list(by_name(made(board, "ERM", backbone="lightgcn").model)) == ["id", "users", *plain[1:]]
    names = list(by_name(made(board, "final", profile_weight=1.0).model))
    assert names[-4:] == [f"profile {half}" for half in halves]


@torch.no_grad()
def test_a_part_is_its_formula(board: Board) -> None:
    """Each item by itself: attention, projection of the modality's masked columns, inner product with the user."""
    model = made(board, "final", variant_weight=0.4, new_items="id", profile_weight=0.0, temperature=None).model
    m, x, parts = model.mask, model.content(), by_name(model)
    kept = x * m @ model.projection.weight.T + model.projection.bias
    rest = x * (1 - m) @ model.variant_projection.weight.T
    energy = (kept.tanh() - rest.tanh()) @ model.attention.query
    user, share = model.user_embedding.weight[5, 8:], torch.sigmoid(energy - energy.mean())
    item, columns = 7, slice(4, 8)
    expected = {
        "id": model.user_embedding.weight[5, :8] @ model.item_embedding.weight[item],
        "spurious invariant": 2 * share[item] * (model.projection.weight[:, columns] @ (m * x[item])[columns]) @ user,
        "spurious variant": 0.8
        * (1 - share[item])
        * (model.variant_projection.weight[:, columns] @ ((1 - m) * x[item])[columns])
        @ user,
        "bias": 2 * share[item] * model.projection.bias @ user,
    }
    for name, value in expected.items():
        assert float(parts[name].scores(5)[item]) == pytest.approx(float(value), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("value", "gone"), [(0.0, "invariant"), (1.0, "variant")])
def test_a_branch_that_the_mask_empties_adds_nothing(board: Board, value: float, gone: str) -> None:
    one = made(board, "final", torch.full((8,), value), profile_weight=0.5, new_item_profile_weight=0.5)
    check_sum(one)
    for part in score_parts(one.model):
        if part.name.branch:
            assert bool(every(part).any()) == (part.name.branch != gone)


def test_at_rho_zero_the_variant_parts_add_nothing(board: Board) -> None:
    for part in score_parts(made(board, "final", variant_weight=0.0, profile_weight=0.5).model):
        assert bool(every(part).any()) == (part.name.branch != "variant")


def test_a_modality_speaks_in_its_own_part_only(board: Board) -> None:
    model = made(board, "ERM", new_items="id", backbone="mf", temperature=None).model
    before = by_name(model)
    model.content.dense[:, 4:] = 0.0
    after = by_name(model)
    assert not every(after["spurious"]).any()
    assert every(before["spurious"]).any()
    for name in ("id", "invariant", "bias"):
        assert torch.equal(every(after[name]), every(before[name]))


def test_new_items_have_no_id_part_or_that_of_their_neighbors(board: Board) -> None:
    for way, has in {"id": True, "content": False, "neighbors": True}.items():
        model = made(board, "ERM", new_items=way).model
        assert bool(by_name(model)["id"].items[model.new].any()) == has


def test_most_alike_by_hand() -> None:
    row = torch.tensor([1.0, 0.0])
    others = torch.tensor([[0.0, 2.0], [3.0, 4.0], [-1.0, 0.0], [5.0, 0.0], [0.0, 0.0], [1.0, 1.0], [8.0, 6.0]])
    found = most_alike(row, others)
    assert [place for place, _ in found] == [3, 6, 5]
    assert [value for _, value in found] == pytest.approx([1.0, 0.8, 0.5**0.5])
    assert most_alike(torch.zeros(2), others) == []
    assert most_alike(row, others[:0]) == []
    assert [place for place, _ in most_alike(row, others[[3, 3, 1]], most=2)] == [0, 1]


def explained(one: SimpleNamespace, user: str, item: str) -> Explanation:
    ids = [one.dataset.token2id(field, token) for field, token in (("user_id", user), ("item_id", item))]
    return next(explainer(one).of_user(ids[0], ids[1:]))


def test_past_items_are_compared_by_masked_features(board: Board) -> None:
    """With a projection that copies features, it is the cosine of the modality's masked columns less their means."""
    one = made(board, "final", torch.tensor([1.0, 0.5, 0, 0.2] * 2), feature_size=8, backbone="mf", new_items="id")
    one.model.content.dense[1:] += 3.0  # what all items have in common makes none alike
    with torch.no_grad():
        one.model.projection.weight.copy_(torch.eye(8))
    tokens = [item for item in board.train.loc[board.train["user_id"] == "u2", "item_id"] if item != "i4"]
    ids = one.dataset.token2id("item_id", np.array(tokens))
    rows = (one.model.content()[:, :4] * one.model.mask[:4]).detach().numpy()
    rows = rows - rows[1:].mean(0)
    row = rows[one.dataset.token2id("item_id", "i4")]
    cosines = rows[ids] @ row / np.linalg.norm(rows[ids], axis=1) / np.linalg.norm(row)
    order = np.argsort(-cosines)[:3]
    (part,) = (part for part in explained(one, "u2", "i4").parts if part.label == "invariant invariant")
    assert [past.item for past in part.past_items] == [tokens[place] for place in order]
    assert [past.similarity for past in part.past_items] == pytest.approx(cosines[order].tolist(), abs=1e-5)


def test_parities_share_what_tells_them(board: Board) -> None:
    """The features of an even item are like those of the even past items; an id of zeros is like none."""
    one = made(board, "ERM", new_items="content", profile_weight=0.0, new_item_profile_weight=1.0)
    found = explained(one, "u2", "i24")
    assert (found.new, found.seen_in, found.missing, found.n_past) == (True, None, ("spurious",), 9)
    parts = {part.label: part for part in found.parts}
    for label in ("id", "bias", "spurious"):
        assert parts[label].past_items == ()
    for label in ("invariant", "profile invariant"):
        assert len(parts[label].past_items) == 3
        assert all(int(past.item[1:]) % 2 == 0 for past in parts[label].past_items)
    assert "profile spurious" not in parts, "without features there is nothing to compare"
    assert not [part for part in explained(one, "u2", "i4").parts if part.part == "profile"]


def test_items_without_features_share_none(board: Board) -> None:
    one = made(board, "ERM")
    for without in WITHOUT[:2]:
        user = board.train.loc[board.train["item_id"] == without, "user_id"].iloc[0]
        for item in ("i2", "i5", "i25"):
            copied, ids = one.model.content.dense, one.dataset.token2id("item_id", np.array([without, item]))
            copied[ids[0], 4:] = copied[ids[1], 4:]  # whatever stands in for them
            (part,) = (part for part in explained(one, user, item).parts if part.label == "spurious")
            assert without not in [past.item for past in part.past_items]


def test_an_explanation_adds_up_and_knows_its_place(board: Board) -> None:
    one = made(board, "final", profile_weight=0.5)
    reader = explainer(one)
    user = one.dataset.token2id("user_id", "u2")
    best = reader.best(user, 3)
    found = list(reader.of_user(user, best))
    assert [one.rank for one in found] == [1, 2, 3]
    scores = all_scores(one.model, one.dataset, torch.tensor([user]))[0]
    for item, explanation in zip(best, found, strict=True):
        assert explanation.unseen == 26 - 10
        assert sum(part.score for part in explanation.parts) == pytest.approx(explanation.score, abs=1e-4)
        lift = sum(part.above_mean for part in explanation.parts)
        assert lift == pytest.approx(float(scores[item] - scores[1:].mean()), abs=1e-4)
    trained = board.train.loc[board.train["user_id"] == "u2", "item_id"].iloc[0]
    seen = explained(one, "u2", trained)
    assert (seen.rank, seen.seen_in) == (None, "training")
    assert all(past.item != trained for part in seen.parts for past in part.past_items)
    withheld = board.valid.loc[board.valid["user_id"] == "u2", "item_id"].item()
    assert explained(one, "u2", withheld).seen_in == "validation"


@pytest.fixture(scope="module")
def trained(board: Board) -> Path:
    """A short run of ERM."""
    return run(board, "ERM", profile_weight=0.3)


def run(board: Board, model: str, **more: Any) -> Path:
    keys = {"epochs": 2, "train_batch_size": 64, "embedding_size": 8, "output_dir": str(board.folder / "runs"), **more}
    run_recbole_painvrl(model, board.name, config_dict=board.config(**keys))
    (path,) = (board.folder / "runs" / board.name / model).iterdir()
    return path


def test_the_best_items_are_those_that_recommend_lists(trained: Path) -> None:
    lists, found = recommend(trained, ["u1", "u4"], 3), explain(trained, ["u1", "u4"], topk=3)
    assert [(one.user, one.item, one.rank) for one in found] == [(one.user, one.item, one.rank) for one in lists]
    assert [one.score for one in found] == pytest.approx([one.score for one in lists])


def test_the_table_is_aligned_and_the_json_says_the_same(trained: Path) -> None:
    (one,) = explain(trained, ["u2"], ["i24"])
    heading, new, missing, header, *rows = as_text([one]).splitlines()
    assert heading.startswith(f"user u2, item i24: score {one.score:.4f}, rank {one.rank} of 16 unseen items")
    assert (new, "spurious" in missing) == ("nobody has this item in training", True)
    assert header.split()[0] == "part"
    assert [row.split("  ")[0] for row in rows] == [*(part.label for part in one.parts), "sum"]
    ends = {row.rindex(f"{part.above_mean:+.4f}") + 7 for row, part in zip(rows, one.parts, strict=False)}
    assert ends == {header.index("above mean") + len("above mean")}
    (read,) = json.loads(as_json([one]))
    assert (read["user"], read["item"], read["new"], read["missing"]) == ("u2", "i24", True, ["spurious"])
    assert sum(part["score"] for part in read["parts"]) == pytest.approx(read["score"], abs=1e-4)
    assert set(read["parts"][0]) == {"part", "modality", "branch", "score", "above_mean", "past_items"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--users=u9x", "--explain"], "there is no user 'u9x' in board. Did you mean 'u9'?"),
        (["--users=u1", "--items=I77", "--explain"], "there is no item 'I77' in board. Did you mean 'i7'?"),
        (["--users=u1", "--item=[PAD]", "--explain"], "there is no item '[PAD]'"),
        (["--explain"], "--explain: whose items?"),
        (["--users=u1", "--items=i1"], "add --explain"),
        (["--users=u1", "--items=i1", "--topk=2", "--explain"], "contradict"),
        (["--users=u1", "--topk=0", "--explain"], "--topk must be at least 1, but got 0"),
        (["--users=u1", "--explain", "--output=none/out.json"], "--output: cannot write"),
    ],
)
def test_mistakes_are_one_line(
    trained: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["recommend", str(trained), *arguments]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert complaint in line


def test_a_user_who_has_every_item_is_named(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(
        "recbole_painvrl.explain.seen_items",
        lambda dataset, parts: [np.arange(1, dataset.item_num)] * dataset.user_num,
    )
    assert cli.main(["recommend", str(trained), "--users=u1", "--explain"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "user u1: no unseen item is left; training and validation have all of them" in said.err.splitlines()
    assert cli.main(["recommend", str(trained), "--users=u1", "--items=i1", "--explain"]) == 0
    assert "no unseen item" not in capsys.readouterr().err


@pytest.mark.parametrize("model", ["BPR", "VBPR"])
def test_models_that_cannot_be_taken_apart_say_so(board: Board, model: str) -> None:
    with pytest.raises(UserError, match=f"the scores of {model} are no sum"):
        explain(run(board, model), ["u1"])


def test_a_trained_painvrl_is_explained_by_its_chosen_rho(board: Board) -> None:
    path = run(board, "PaInvRL", warmup_epochs=1, env_field="environment", n_rounds=1, variant_weight="validation")
    _, model, *_ = load_data_and_model(path)
    assert bool(model.stage == 1)
    (one,) = explain(path, ["u3"], topk=1)
    assert sum(part.score for part in one.parts) == pytest.approx(one.score, abs=1e-4)


def test_the_command_prints_or_writes(trained: Path, tmp_path: Path) -> None:
    """In a process of its own, as users run it."""
    call = [sys.executable, str(SCRIPT), "recommend", str(trained), "--user=u2", "--explain"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    printed = subprocess.run([*call, "--item=i4"], capture_output=True, text=True, env=environment, check=True)
    assert printed.stdout == as_text(explain(trained, ["u2"], ["i4"]))
    assert "Warning" not in printed.stderr
    file = tmp_path / "out.json"
    subprocess.run([*call, "--topk=2", f"--output={file}"], capture_output=True, env=environment, check=True)
    assert [one["rank"] for one in json.loads(file.read_text())] == [1, 2]
