"""What a user installs: the wheel holds everything, runs from anywhere, and README, setup.py and CI say the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_painvrl.report.records import RunFolder

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("setup.py", "pyproject.toml", "README.md", "recbole_painvrl", "properties")
# the installed entry point, in a process that sees the repository nowhere
ENTRY = """
import sys
from importlib.metadata import entry_points
import recbole_painvrl
print(recbole_painvrl.__file__)
(found,) = entry_points(group="console_scripts", name="recbole-painvrl")
sys.exit(found.load()(sys.argv[1:]))
"""


def python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel, built from a copy: building writes beside the sources."""
    copy, site = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("site")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    built = python("setup.py", "-q", "bdist_wheel", cwd=copy)
    assert built.returncode == 0, built.stderr
    (wheel,) = (copy / "dist").glob("*.whl")
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    done = python(*pip, "--target", str(site), str(wheel), cwd=copy)
    assert done.returncode == 0, done.stderr
    return site


def relative_files(folder: Path, pattern: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob(pattern)}


def test_the_wheel_holds_every_property_and_module(installed: Path) -> None:
    package = installed / "recbole_painvrl"
    for pattern in ("*.yaml", "*.hyper"):
        assert relative_files(package / "properties", pattern) == relative_files(ROOT / "properties", pattern)
    assert relative_files(package, "*.py") == relative_files(ROOT / "recbole_painvrl", "*.py")
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"recbole_painvrl", "bin"}


def test_the_wheel_trains_painvrl_from_anywhere(installed: Path, tmp_path: Path) -> None:
    """On ml-100k, whose modalities are described by a yaml file of the wheel."""
    keys = ["--epochs=2", "--warmup_epochs=1", "--n_rounds=1", "--n_environments=2", "--env_max_iter=1"]
    keys += ["--mask_steps=2", "--use_gpu=False", "--show_progress=False"]
    done = python("-c", ENTRY, "--model=PaInvRL", *keys, cwd=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[0]).is_relative_to(installed)
    (run,) = (tmp_path / "runs" / "ml-100k" / "PaInvRL").iterdir()
    assert (run / "done").exists()
    result = RunFolder(run).read_json("result.json")
    assert result["epochs"] == 2
    assert 0.02 < result["test_result"]["ndcg@20"] < 1  # a ranking at random has 0.01
    masked = (run / "mask.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0] for line in masked} == {"title", "genres", "year"}


def fenced(text: str) -> list[str]:
    """The commands in README's fenced blocks."""
    blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_readme_installs_extras_that_exist() -> None:
    """In the built metadata; pip only warns about an extra that does not exist."""
    commands = [line for line in fenced((ROOT / "README.md").read_text()) if "pip install" in line]
    named = {extra for line in commands for group in re.findall(r"\.\[([\w,]+)\]", line) for extra in group.split(",")}
    assert {"tune", "report", "test"} <= named
    declared = re.search(r"EXTRAS_REQUIRE = \{(.*?)^\}", (ROOT / "setup.py").read_text(), re.DOTALL | re.MULTILINE)
    assert declared
    assert named <= set(re.findall(r'^    "(\w+)":', declared.group(1), re.MULTILINE))


def test_ci_runs_what_readme_says() -> None:
    commands = fenced((ROOT / "README.md").read_text())
    steps = [step.strip() for line in commands for step in line.split("&&")]
    ci = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    (install,) = {step for step in steps if step.startswith("pip install torch")}
    assert install in ci
    assert "python -m pytest" in steps
    assert "python -m pytest" in ci
    assert ci.index(install) < ci.index("python -m pytest")
