"""A file that would run something when unpickled is refused and never run, whichever way it comes in."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recbole_painvrl.convert.restricted import RefusedNameError, load_object_array, unpickle
from recbole_painvrl.errors import UserError
from tests.convert.inputs import SPLITS, WRITERS, matrix

RawFolder = Callable[[str], Path]
Refused = Callable[..., str]


class Hostile:
    """Creates the file ``marker`` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.marker, "w")


def object_array(path: Path, hostile: Hostile) -> None:
    array = np.empty(2, dtype=object)
    array[:] = [[0, 4], hostile]
    np.save(path, array)


def object_dict(path: Path, hostile: Hostile) -> None:
    np.save(path, np.array({0: [4], 1: hostile}))


def plain_pickle(path: Path, hostile: Hostile) -> None:
    path.write_bytes(pickle.dumps(hostile))


def inside_matrix(path: Path, hostile: Hostile) -> None:
    wrapped = matrix(SPLITS["train"])
    wrapped.extra = hostile
    path.write_bytes(pickle.dumps(wrapped))


def zip_tensor(path: Path, hostile: Hostile) -> None:
    torch.save(hostile, path)


def old_tensor(path: Path, hostile: Hostile) -> None:
    torch.save([torch.ones(6, 2), hostile], path, _use_new_zipfile_serialization=False)


ROUTES = [
    ("mmgcn", "val_full.npy", object_array),
    ("mmgcn", "test_full.npy", object_dict),
    ("mmgcn", "user_item_dict.npy", object_dict),
    ("mmgcn", "train.npy", object_array),
    ("mmgcn", "FeatureVideo_normal.npy", object_array),
    ("mmgcn", "feat_a.pt", zip_tensor),
    ("mmgcn", "feat_a.pt", old_tensor),
    ("mmgcn", "feat_a.pt", plain_pickle),
    ("csv", "v_feat.npy", object_array),
    ("csv", "v_feat.npy", plain_pickle),
    ("mmrec", "vggish.npy", object_array),
    ("mmssl", "train_mat", plain_pickle),
    ("mmssl", "image_feat.npy", object_array),
    ("diffmm", "trnMat.pkl", plain_pickle),
    ("diffmm", "valMat.pkl", inside_matrix),
]


@pytest.mark.parametrize(("layout", "file", "write"), ROUTES, ids=lambda value: getattr(value, "__name__", value))
def test_hostile_file_is_never_run(
    raw: RawFolder, refused: Refused, tmp_path: Path, layout: str, file: str, write: Callable[[Path, Hostile], None]
) -> None:
    folder, marker = raw(layout), tmp_path / "marker"
    write(folder / file, Hostile(marker))
    assert file in refused(WRITERS[layout][0], folder)
    assert not marker.exists()


def test_the_hostile_file_is_hostile(tmp_path: Path) -> None:
    object_array(tmp_path / "hostile.npy", Hostile(tmp_path / "marker"))
    np.load(tmp_path / "hostile.npy", allow_pickle=True)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "stream",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\ncore.multiarray._reconstruct\n.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"cscipy.sparse\ncoo_array\n.",
        b"ccopyreg\n_reconstructor\n.",
        b"cnumpy\nload\n.",
    ],
)
def test_unknown_names(tmp_path: Path, stream: bytes) -> None:
    path = tmp_path / "stream.pkl"
    path.write_bytes(stream)
    with open(path, "rb") as handle, pytest.raises(UserError, match="nothing was run") as caught:
        unpickle(handle, path)
    assert isinstance(caught.value.__cause__, RefusedNameError)


@pytest.mark.parametrize(
    "stream",
    [
        b"c_codecs\nencode\n(VA\nS'zlib'\ntR.",  # another codec than Latin-1 would be imported
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(S'O'\nS'x'\ntR.",
        b"cnumpy\ndtype\n(S'no such type'\ntR.",
        b"",
        b"\x80\x04",
        b"Pid\n.",
    ],
)
def test_known_names_with_unusual_arguments(tmp_path: Path, stream: bytes) -> None:
    path = tmp_path / "stream.pkl"
    path.write_bytes(stream)
    with open(path, "rb") as handle, pytest.raises(UserError, match="cannot be read as pickled plain data"):
        unpickle(handle, path)


def test_new_and_old_spelling_of_numpy(tmp_path: Path) -> None:
    array = np.array({1: {2, np.int64(3)}})
    with open(tmp_path / "new.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        pickle.dump(array, file, protocol=3)  # in which names are lines and may change in length
    data = (tmp_path / "new.npy").read_bytes()
    assert b"numpy.core.multiarray" in data or b"numpy._core.multiarray" in data
    swapped = data.replace(b"numpy._core.", b"numpy.CORE.").replace(b"numpy.core.", b"numpy._core.")
    (tmp_path / "old.npy").write_bytes(swapped.replace(b"numpy.CORE.", b"numpy.core."))
    for name in ("new.npy", "old.npy"):
        assert load_object_array(tmp_path / name).item() == {1: {2, 3}}
