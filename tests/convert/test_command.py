"""Arguments of the command that cannot be used are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recbole_painvrl.convert import convert
from recbole_painvrl.errors import UserError

RawFolder = Callable[[str], Path]
Refused = Callable[..., str]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a\\b", "a b", "a,b", "-x"])
def test_names(raw: RawFolder, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no plain name"):
        convert("csv", raw("csv"), name, tmp_path / "dataset")


def test_arguments(raw: RawFolder, refused: Refused) -> None:
    folder = raw("csv")
    assert "unknown format 'cvs', expected one of csv, mmgcn, mmssl, mmrec. Did you mean 'csv'?" in refused(
        "cvs", folder
    )
    assert "--core is for format mmssl only" in refused("csv", folder, core=5)
    assert "Did you mean 'overwrite'?" in refused("csv", folder, overwrit=True)
