"""Feature blocks, rotations and word tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from recbole_painvrl.data.features import Modality
from recbole_painvrl.errors import UserError
from recbole_painvrl.model import row_blocks
from recbole_painvrl.model.content import ContentFeatures
from recbole_painvrl.model.rotation import rotate


def dense(name: str, values: np.ndarray, missing: list[int] | None = None) -> Modality:
    """A modality with ``values`` [I, D_m] and the given items without features."""
    absent = np.zeros(len(values), bool)
    absent[missing or []] = True
    return Modality(name=name, source="npy", values=values.astype(np.float32), words=None, missing=absent)


@pytest.fixture
def features() -> np.ndarray:
    """Correlated features [50, 6] with unequal variances; row 0 is padding."""
    random = np.random.default_rng(0)
    values = random.normal(size=(50, 6)) * [3, 1, 1, 0.5, 0.1, 2] @ random.normal(size=(6, 6))
    values[0] = 0
    return values.astype(np.float32)


def test_pca_keeps_distances_and_decorrelates(features: np.ndarray) -> None:
    present = np.arange(50) > 0
    turned = rotate(features, present, "pca")
    centered = features - features[1:].mean(0)
    assert np.allclose(turned @ turned.T, centered @ centered.T, rtol=1e-3, atol=1e-3)
    moments = turned[1:].T @ turned[1:]
    assert np.allclose(moments, np.diag(np.diag(moments)), atol=1e-3 * moments.max())
    assert np.all(np.diff(np.diag(moments)) <= 1e-3)


def test_whiten_gives_every_direction_the_same_variance(features: np.ndarray) -> None:
    present = np.arange(50) > 0
    turned = rotate(features, present, "whiten")
    covariance = np.cov(turned[present], rowvar=False)
    assert np.allclose(covariance / covariance[0, 0], np.eye(6), atol=1e-3)
    centered = features[1:] - features[1:].mean(0)
    assert np.isclose(np.linalg.norm(turned[1:], axis=1).mean(), np.linalg.norm(centered, axis=1).mean(), rtol=1e-4)


def test_zca_is_whitening_turned_back(features: np.ndarray) -> None:
    """Of all whitened features the ZCA ones are nearest to the centered originals, so each column keeps its meaning."""
    present = np.arange(50) > 0
    whitened, zca = rotate(features, present, "whiten"), rotate(features, present, "zca")
    assert np.allclose(zca @ zca.T, whitened @ whitened.T, rtol=1e-3, atol=1e-3)
    centered = features[1:] - features[1:].mean(0)
    assert np.linalg.norm(zca[1:] - centered) < np.linalg.norm(whitened[1:] - centered)
    cross = zca[1:].T @ centered
    assert np.allclose(cross, cross.T, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("rotation", ["pca", "whiten", "zca"])
def test_large_tables_are_turned_block_by_block(
    features: np.ndarray, monkeypatch: pytest.MonkeyPatch, rotation: str
) -> None:
    present = np.arange(50) % 9 > 0
    whole = rotate(features, present, rotation)
    monkeypatch.setattr(row_blocks, "NUMBERS_A_BLOCK", 7 * features.shape[1])
    assert len(list(row_blocks.row_blocks(features))) == 8
    np.testing.assert_allclose(rotate(features, present, rotation), whole, rtol=1e-5, atol=1e-5)


def test_similarity_features_are_unit_rows_masked_and_zero_without_content(features: np.ndarray) -> None:
    content = ContentFeatures(
        {"a": dense("a", features[:, :3], missing=[4]), "b": dense("b", features[:, 3:], missing=[4])}
    )
    rows = content.similarity_features()
    assert torch.allclose(rows[1:4].norm(dim=1), torch.ones(3)) and not rows[0].any() and not rows[4].any()
    masked = content.similarity_features(torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0]))
    assert not masked[:, 1].any() and torch.allclose(masked[1:4].norm(dim=1), torch.ones(3))


def test_whiten_survives_a_constant_column(features: np.ndarray) -> None:
    features[1:, 2] = 1.0
    assert np.isfinite(rotate(features, np.arange(50) > 0, "whiten")).all()


def test_blocks_stand_side_by_side_and_padding_is_zero(features: np.ndarray) -> None:
    content = ContentFeatures({"b": dense("b", features[:, :2]), "a": dense("a", features[:, 2:] + 1)})
    assert [(block.name, block.start, block.stop) for block in content.blocks] == [("b", 0, 2), ("a", 2, 6)]
    assert torch.equal(content()[1:], torch.from_numpy(np.c_[features[1:, :2], features[1:, 2:] + 1]))
    assert not content()[0].any()
    assert content.dimension_names()[:3] == [("b", 0), ("b", 1), ("a", 0)]


def test_words_are_summed_with_their_counts_and_scaled_to_unit_length() -> None:
    counts = csr_matrix(np.array([[0, 0, 0], [2, 0, 1], [0, 0, 0], [0, 3, 0]]))
    words = Modality("words", "words", None, counts, np.array([True, False, True, False]), table_dimension=4)
    content = ContentFeatures({"words": words})
    with torch.no_grad():
        content.tables["words"].weight.copy_(torch.arange(12.0).view(3, 4) + 1)
    table = content.tables["words"].weight
    first = 2 * table[0] + table[2]
    assert torch.allclose(content()[1], first / first.norm())
    assert torch.allclose(content()[3], table[1] / table[1].norm())
    assert not content()[2].any()
    content()[1].sum().backward()
    assert table.grad is not None and not table.grad[1].any()


def test_similarity_of_wide_features_keeps_the_leading_directions() -> None:
    """600 columns that vary in 20 directions: the whitened rows have the inner products of the whitened 20."""
    random = np.random.default_rng(0)
    low = random.normal(size=(300, 20)) * np.linspace(1, 3, 20)
    wide = (low @ np.linalg.qr(random.normal(size=(600, 20)))[0].T).astype(np.float32)
    present = np.arange(300) > 0
    found = rotate(wide, present, "zca", most=256)[1:]
    expected = rotate(low.astype(np.float32), present, "whiten")[1:]
    scale = np.linalg.norm(expected) / np.linalg.norm(found)
    assert np.allclose(
        scale**2 * found @ found.T, expected @ expected.T, atol=1e-2 * np.abs(expected @ expected.T).max()
    )


def test_unknown_rotation_is_refused(features: np.ndarray) -> None:
    with pytest.raises(UserError, match="feature_rotation"):
        ContentFeatures({"a": dense("a", features)}, "spin")


def turnable(features: np.ndarray) -> ContentFeatures:
    """A dense modality of 4 columns and words of 3, whose axes can be turned."""
    counts = csr_matrix(np.random.default_rng(1).poisson(1.0, size=(50, 5)))
    words = Modality("words", "words", None, counts, np.zeros(50, bool), table_dimension=3)
    content = ContentFeatures({"a": dense("a", features[:, :4]), "words": words})
    content.make_turnable()
    with torch.no_grad():
        content.tables["words"].weight.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    return content


def random_bases(seed: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    return [torch.linalg.qr(torch.randn(width, width, generator=source))[0] for width in (4, 3)]


def test_turning_multiplies_each_modality_and_adds_up(features: np.ndarray) -> None:
    content = turnable(features)
    before, first, second = content().detach(), random_bases(1), random_bases(2)
    similar = content.similarity_features()
    content.turn(first)
    content.turn(second)
    expected = torch.cat([before[:, :4] @ first[0] @ second[0], before[:, 4:] @ first[1] @ second[1]], dim=1)
    assert torch.allclose(content(), expected, atol=1e-5)
    assert torch.allclose(
        content.similarity_features() @ content.similarity_features().T, similar @ similar.T, atol=1e-5
    )
    content()[1:].sum().backward()
    assert content.tables["words"].weight.grad is not None


def test_a_mask_on_turned_axes_compares_along_them(features: np.ndarray) -> None:
    """One axis masked: what is compared is the whitened content less its share along that axis."""
    content, bases = turnable(features), random_bases(3)
    plain = content.whitened.clone()
    content.turn(bases)
    mask = torch.ones(7)
    mask[1] = 0
    axis = bases[0][:, 1]
    left = plain[:, :4] - (plain[:, :4] @ axis)[:, None] * axis
    left = torch.nn.functional.normalize(left[1:], dim=1)
    found = torch.nn.functional.normalize(content.similarity_features(mask)[1:, :4], dim=1)
    assert torch.allclose(found @ found.T, left @ left.T, atol=1e-5)


def test_axes_are_stored_and_features_follow_them_exactly(features: np.ndarray) -> None:
    content, other = turnable(features), turnable(features)
    content.turn(random_bases(1))
    content.turn(random_bases(2))
    other.turn(random_bases(5))
    other.load_state_dict(content.state_dict())
    assert torch.equal(other(), content())
    assert torch.equal(other.similarity_features(), content.similarity_features())
    assert set(content.state_dict()) == {"axes_0", "axes_1", "tables.words.weight"}
    assert set(ContentFeatures({"a": dense("a", features)}).state_dict()) == set()


@pytest.mark.parametrize("learns", [True, False])
def test_some_items_are_projected_as_all_are(features: np.ndarray, learns: bool) -> None:
    """Dense columns and words alike, and word vectors learn from the items that are taken."""
    content, source = turnable(features), torch.Generator().manual_seed(4)
    content.turn(random_bases(1))
    weight, bias = torch.randn(2, 7, generator=source), torch.randn(2, generator=source)
    items = torch.tensor([3, 7, 20])
    words, found = content.tables["words"].weight, []
    for rows in (
        content.project(weight, bias, learns)[items],
        content.project(weight, bias, learns, content.taken(items)),
    ):
        gradient = torch.autograd.grad(rows.sum(), words, allow_unused=True)[0] if rows.requires_grad else None
        assert (gradient is not None) == learns
        found.append((rows.detach(), torch.zeros(1) if gradient is None else gradient))
    torch.testing.assert_close(*found)


def worded(features: np.ndarray, matrix: np.ndarray, seed: int) -> ContentFeatures:
    """Words of 3 columns between dense modalities of 4 and 2 that are views of a matrix [50, 9], as the data set's."""
    matrix[:, :4], matrix[:, 7:] = features[:, :4], features[:, 4:]
    counts = csr_matrix(np.random.default_rng(1).poisson(1.0, size=(50, 5)))
    absent = np.zeros(50, bool)
    content = ContentFeatures(
        {
            "a": Modality("a", "npy", matrix[:, :4], None, absent),
            "words": Modality("words", "words", None, counts, absent, table_dimension=3),
            "b": Modality("b", "npy", matrix[:, 7:], None, absent),
        }
    )
    with torch.no_grad():
        content.tables["words"].weight.copy_(torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)))
    return content


def seen(content: ContentFeatures) -> list[torch.Tensor]:
    """All that a model asks of its content: features, projections, and what items are compared by."""
    weight, items = torch.linspace(-1, 1, 18).view(2, 9), torch.tensor([3, 7, 20])
    found = [content(), content.project(weight), content.project(weight, taken=content.taken(items))]
    return [rows.detach().clone() for rows in (*found, content.similarity_features())]


def test_words_that_are_held_are_the_ones_that_were_learned(features: np.ndarray) -> None:
    """Features are then the data set's matrix itself; let go, vectors follow the tables again."""
    matrix = np.zeros((50, 9), np.float32)
    content = worded(features, matrix, 0)
    before = seen(content)
    content.hold_words()
    torch.testing.assert_close(seen(content), before)
    assert content().data_ptr() == content.dense.data_ptr() == matrix.ctypes.data
    with torch.no_grad():
        content.tables["words"].weight.add_(1)
    torch.testing.assert_close(seen(content), before)
    content.hold_words(False)
    assert content().requires_grad
    assert not torch.allclose(content()[:, 4:7], before[0][:, 4:7])
    torch.testing.assert_close(content()[:, :4], before[0][:, :4])
    torch.testing.assert_close(seen(content)[1], content().detach() @ torch.linspace(-1, 1, 18).view(2, 9).T)


def test_models_of_one_data_set_do_not_see_each_others_words(features: np.ndarray) -> None:
    """Neither one that holds words itself nor one whose words still learn, even where the others' are no numbers."""
    matrix = np.zeros((50, 9), np.float32)
    first, second, third = (worded(features, matrix, seed) for seed in (0, 1, 2))
    expected = [seen(content) for content in (first, second, third)]
    first.hold_words()
    second.hold_words()
    for content, before in zip((first, second, third), expected, strict=True):
        torch.testing.assert_close(seen(content), before)
    assert first.dense.data_ptr() == third.dense.data_ptr() == matrix.ctypes.data
    with torch.no_grad():
        first.tables["words"].weight.fill_(torch.nan)
    first.hold_words()
    assert np.isnan(matrix[1:, 4:7]).any()
    torch.testing.assert_close(seen(third), expected[2])
    del first, content
    second.hold_words()
    third.hold_words()
    torch.testing.assert_close(seen(third), expected[2])
    assert third().data_ptr() == matrix.ctypes.data
    torch.testing.assert_close(seen(second), expected[1])


def test_held_words_are_turned_with_their_axes(features: np.ndarray) -> None:
    content, other = turnable(features), turnable(features)
    content.hold_words()
    for each in (content, other):
        each.turn(random_bases(1))
    torch.testing.assert_close(content(), other().detach())
    torch.testing.assert_close(content.similarity_features(), other.similarity_features())
    other.hold_words()
    torch.testing.assert_close(other(), content())
