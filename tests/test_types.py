"""The types of the package hold, as pyproject.toml asks: strictly where the mathematics and the numbers are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# in a process of its own, as mypy keeps what it has read in memory
CHECK = "import sys; from mypy import api; out, err, status = api.run(sys.argv[1:]); print(out, err); sys.exit(status)"


def test_the_package_has_no_type_error(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed; pip install -e '.[test]' brings it")
    arguments = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path), "--no-pretty"]
    command = [sys.executable, "-c", CHECK, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
