"""Every command of README, typed as it stands there, in README's order, in one folder.

What takes long is made short by further words, of which the last one of a kind counts, and by small data under names
of README. The fast suite checks that no command is without a rule; the commands themselves are the slow suite's.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from recbole_painvrl.convert.command import convert

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
STARTS = ("python", "recbole-painvrl", "torchrun", ".ci/")
SECONDS = 1200
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")

ELSEWHERE = {
    "python3.11 -m venv": ".ci/run makes an environment with it",
    "python -m pytest": "it is this suite",
    ".ci/matrix": "results/compatibility.md",
    "python -m benchmarks.coverage": "results/coverage.md",
    "python -m benchmarks.mutation": "results/mutation.md",
    "python -m benchmarks.fuzz": "tests/fuzz/test_fuzz.py, by its number of cases",
}
RUN = "--epochs=2 --warmup_epochs=1 --n_rounds=1 --env_max_iter=2 --mask_steps=2 --show_progress=False"


def as_sets(words: str) -> str:
    """The same keys for a benchmark."""
    return " ".join(f"--set {word[2:]}" for word in words.split() if "show_progress" not in word)


SETS = as_sets(RUN)
SEARCHED = "--epochs=52 --n_rounds=1 --env_max_iter=2 --mask_steps=2 --show_progress=False"  # warm-ups are hyper.test's
SHORTER = [  # the first that is in the command
    ("--params_file=hyper.test --tool=Ray", f"{SEARCHED} --num_samples=1"),
    ("--params_file=hyper.test", f"{SEARCHED} --max_evals=1"),
    ("python run_recbole_painvrl.py --resume", "--show_progress=False"),
    ("python run_recbole_painvrl.py", RUN),
    ("recbole-painvrl --", RUN),
    ("torchrun", RUN),
    ("recbole-painvrl simulate --scale", "--users=60 --items=50 --interactions=400"),
    ("python -m benchmarks.quality", f"--seeds 1 {SETS}"),
    ("python -m benchmarks.ood", f"--seeds 1 {SETS}"),
    ("python -m benchmarks.ablations", f"--seeds 1 {SETS}"),
    ("python -m benchmarks.identification", "--seeds 1"),
    ("python -m benchmarks.mask_ceiling", f"--seeds 1 --steps 2 {SETS}"),
    ("python benchmarks/step.py", "--rounds 1 --seconds 0.05 --output results/step.md"),
    ("python benchmarks/mask_speed.py", "--rounds 1 --shape 300 200 4000 --output results/mask_speed.md"),
    ("python -m benchmarks.speed", f"--rounds 1 --seconds 0.05 --no-training {SETS}"),
    ("python -m benchmarks.gpu", f"--models PaInvRL --epochs 1 {SETS}"),
    ("python -m benchmarks.scaling", "--divide 50 --factors 1,2"),
    ("python -m benchmarks.paper_size", f"--divide 200 --scales tiktok {SETS}"),
    ("python -m benchmarks.leaderboard", ""),
    ("python -m benchmarks.search_cost", f"--trials 1 --jobs 1 {as_sets(SEARCHED)}"),
    ("recbole-painvrl convert csv SOURCE --name tiktok", "--overwrite"),
    *((f"recbole-painvrl {name}", "") for name in ("convert", "simulate", "split", "report", "recommend", "doctor")),
]
FEWER = {
    "--seeds=": "--seeds=1",
    "--tune=": "--tune=1",
    "--max_evals=": "--max_evals=2",
    "--num_samples=": "--num_samples=2",
}
NAMES = {  # what README writes in capitals
    "FORMAT": "csv",
    "SOURCE": "my_folder",
    "RECIPE": "r2",
    "S": "3",
    "DATASET": "tiktok",
    "KIND": "cold_items",
    "RUN_FOLDER...": "runs/planted-small",
}


@dataclass(frozen=True)
class Typed:
    """A command as README has it, without its comment."""

    text: str

    @property
    def elsewhere(self) -> bool:
        return self.text.startswith(tuple(ELSEWHERE))

    @property
    def more(self) -> str | None:
        """The words that make it short; None if there is no rule for it."""
        return next((words for start, words in SHORTER if start in f"{self.text} "), None)


def typed() -> list[Typed]:
    """The commands of README's blocks in their order, then those of its lines, each once."""
    found: dict[Typed, None] = {}
    blocks = [block.replace("\\\n", " ").splitlines() for block in BLOCK.findall(README)]
    for lines in (*blocks, INLINE.findall(BLOCK.sub("", README))):
        for line in lines:
            words = shlex.split(line, comments=True) if line.startswith(STARTS) else []
            if len(words) > 1:
                found[Typed(shlex.join(words) if "&&" not in words else line)] = None
    return list(found)


COMMANDS = typed()


def test_every_command_has_a_rule() -> None:
    assert len(COMMANDS) > 40
    assert not [one.text for one in COMMANDS if not one.elsewhere and one.more is None]


def test_every_rule_has_a_command() -> None:
    texts = [f"{one.text} " for one in COMMANDS]
    assert not [start for start in ELSEWHERE if not any(text.startswith(start) for text in texts)]
    assert not [start for start, _ in SHORTER if not any(start in text for text in texts)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with small data of README's names, before its first command."""
    folder = tmp_path_factory.mktemp("readme") / "repository"
    folder.mkdir()
    for name in ("benchmarks", "properties", "recbole_painvrl", "hyper.test", "run_recbole_painvrl.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    (folder / "results").mkdir()
    shutil.copytree(ROOT / "dataset" / "planted-small", folder / "dataset" / "planted-small")
    write_tables(folder / "my_folder")
    write_tables(folder / "tiktok", 160, 120)
    convert("csv", folder / "tiktok", "tiktok", folder / "dataset")
    return folder


def write_tables(folder: Path, n_users: int = 40, n_items: int = 30) -> None:
    """What `convert csv` reads: users like items of their parity, and features tell it."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    pairs = [(user, item) for user in range(n_users) for item in draw.permutation(range(user % 2, n_items, 2))[:15]]
    places = draw.permutation(len(pairs))
    parts = np.split(places, [2 * len(pairs) // 3, 5 * len(pairs) // 6])
    for name, chosen in zip(("train", "valid", "test"), parts, strict=True):
        lines = "".join(f"{pairs[place][0]},{pairs[place][1]}\n" for place in chosen)
        (folder / f"{name}.csv").write_text(f"user,item\n{lines}")
    parity = np.arange(n_items)[:, None] % 2
    for name in ("v", "t"):
        np.save(folder / f"{name}_feat.npy", draw.normal(parity, 0.5, (n_items, 4)).astype(np.float32))


def words_of(command: Typed, folder: Path) -> list[str]:
    """What a shell would be given, made short, with folders where README can only hint at their names."""
    words = [
        FEWER[start] if (start := re.match(r"--\w+=|", word)[0]) in FEWER else word
        for word in shlex.split(command.text)
    ]
    words += shlex.split(command.more or "")
    comparisons = sorted((folder / "runs" / "comparisons").glob("*"), key=lambda path: path.stat().st_mtime)
    named = {"HASH": -2, "HASH2": -1}
    for number, word in enumerate(words):
        flag, equals, value = word.rpartition("=")
        last = value.rpartition("/")[2]
        if last in named:
            words[number] = str(comparisons[named[last]].relative_to(folder))
        elif value.endswith("2020-...") or value in ("FOLDER", "RUN_FOLDER"):
            run = max((folder / "runs/planted-small/PaInvRL").iterdir(), key=lambda path: path.stat().st_mtime)
            words[number] = f"{flag}{equals}{run.relative_to(folder)}"
        elif value.startswith("../shared"):
            words[number] = str(ROOT / value)
        elif value == "NAME":
            words[number] = f"{flag}{equals}made-{len(os.listdir(folder / 'dataset'))}"
        elif value in NAMES:
            words[number] = f"{flag}{equals}{NAMES[value]}"
    return words


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.text[:80])
def test_it_does_what_readme_says(command: Typed, folder: Path) -> None:
    if command.elsewhere:
        pytest.skip(next(place for start, place in ELSEWHERE.items() if command.text.startswith(start)))
    if "--tool=Ray" in command.text:
        pytest.importorskip("ray", reason="Ray cannot be imported")
    if "../shared" in command.text and not (ROOT.parent / "shared").is_dir():
        pytest.skip("the shared data are not here")
    first, *words = words_of(command, folder)
    program = {
        "python": [sys.executable],
        "recbole-painvrl": [sys.executable, "-c", "import sys; from recbole_painvrl.cli import main; sys.exit(main())"],
        "torchrun": [sys.executable, "-m", "torch.distributed.run"],
    }[first]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*program, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{shlex.join([first, *words])}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
    outputs = [words[place + 1] for place, word in enumerate(words) if word == "--output"]
    assert all((folder / output).exists() for output in outputs)
