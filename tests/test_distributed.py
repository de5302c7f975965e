"""Two processes make the run of one: the same parameters, results of the same users, the same records."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_painvrl import checkpoint
from recbole_painvrl.distributed import Ranks, place
from recbole_painvrl.model.batch import terms_of
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.signals import first_of_several
from recbole_painvrl.trainer import RunMixin
from tests.endings import Moment, end
from tests.processes import PLAIN, ROUNDS, in_double_precision, together, words

NOISY = {"id_dropout": 0.3}
RUNS: list[tuple[str, dict[str, Any]]] = [
    ("ERM", {**NOISY, "batch_by": "user"}),
    ("UltraGCN", {**NOISY, "train_batch_size": 71, "learner": "adam", "learning_rate": 0.01}),
    ("PaInvRL", {**NOISY, **ROUNDS, "variant_weight": "validation", "mask_axes": "learned"}),
    ("InvRL", {**ROUNDS, "faithful": True, "n_rounds": 1, "env_epochs": 1, "id_dropout": 0.3}),
    ("MF", {"n_negatives": 9, "eval_args": "{mode: uni5}"}),
    ("VBPR", {"reg_weight": 0.1}),
    ("MMGCN", {"reg_weight": 0.1}),
    ("GRCN", {"reg_weight": 0.1}),
    ("LATTICE", {"reg_weight": 0.1}),
    ("FREEDOM", {"reg_weight": 0.1}),
    ("SLMRec", {"ssl_weight": 0.5, "reg_weight": 0.1}),
    ("MGCN", {"ssl_weight": 0.5, "reg_weight": 0.1}),
    ("BM3", {"dropout_prob": 0.5, "reg_weight": 0.1}),
]


def made(size: int, arguments: list[str], folder: Path) -> RunFolder:
    folder.mkdir()
    statuses = together(size, [*arguments, f"--output_dir={folder}"], folder, lambda rank: in_double_precision())
    assert statuses == [0] * size, [file.read_text() for file in folder.glob("output.*")]
    (run,) = (folder / "board").glob("*/*")
    assert not any((folder / f"output.{rank}").read_text() for rank in range(1, size))
    return RunFolder(run)


@pytest.mark.parametrize(("model", "keys"), RUNS, ids=[model for model, _ in RUNS])
def test_two_processes_make_the_run_of_one(tmp_path: Path, model: str, keys: dict[str, Any]) -> None:
    arguments = words(tmp_path / "data", model, **{**PLAIN, **keys})
    one, two = made(1, arguments, tmp_path / "one"), made(2, arguments, tmp_path / "two")
    parameters, others = (checkpoint.load(run.last_model) for run in (one, two))
    for name, value in parameters["state_dict"].items():
        torch.testing.assert_close(others["state_dict"][name], value, rtol=1e-7, atol=1e-9, msg=name)
    assert_alike(two.read_json("result.json"), one.read_json("result.json"))
    assert_alike(two.records(), one.records())
    with np.load(one.path / "per_user.npz") as values, np.load(two.path / "per_user.npz") as found:
        assert list(found) == list(values)
        for name in values:
            np.testing.assert_array_equal(found[name], values[name], name)


def test_sets_of_fewer_users_than_processes_are_evaluated_as_by_one(tmp_path: Path) -> None:
    """One user in the validation set, and one in a test set: there is no block of users for the other process."""
    arguments = words(tmp_path / "data", "MF", **PLAIN)
    for part in ("valid", "test_ood"):
        file = tmp_path / "data" / "board" / f"board.{part}.inter"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    one, two = made(1, arguments, tmp_path / "one"), made(2, arguments, tmp_path / "two")
    assert_alike(two.read_json("result.json"), one.read_json("result.json"))
    assert_alike(two.records(), one.records())


def assert_alike(found: Any, expected: Any) -> None:
    """Looks for the same names and texts, and the same numbers but for rounding; times and memory may differ."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected.keys() - {"time", "cpu", "seconds", "seconds_train", "seconds_eval", "peak_rss_mb"}:
            assert_alike(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        assert found == (pytest.approx(expected, rel=1e-5, abs=1e-8) if isinstance(expected, float) else expected)


def test_a_process_that_dies_ends_the_others_and_the_run_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """The second process is killed in the warm-up's third epoch; two others go on from the first's checkpoint."""
    keys = {**PLAIN, **ROUNDS, "warmup_epochs": 3, "epochs": 5, "n_rounds": 1}
    arguments = words(tmp_path / "data", "PaInvRL", **keys)
    straight = made(1, arguments, tmp_path / "straight")
    arguments.append(f"--output_dir={tmp_path}")
    step = Moment("third epoch", "recbole_painvrl.model.general_recommender.painvrl:PaInvRL.calculate_loss", 10)

    def prepare(rank: int) -> None:
        in_double_precision()
        RunMixin._worth_saving = lambda trainer: True
        if rank == 1:
            step.arm(lambda: end(signal.SIGKILL))

    assert together(2, arguments, tmp_path, prepare) == [2, -signal.SIGKILL]
    (run,) = (tmp_path / "board" / "PaInvRL").iterdir()
    said = (tmp_path / "output.0").read_text()
    gone = "another process of this run has ended before it was done"
    assert said.splitlines()[-1] == f"error: {gone}; continue with --resume={run}"
    assert "Traceback" not in said and len(RunFolder(run).records("train")) == 2
    assert together(2, [f"--resume={run}"], tmp_path, lambda rank: in_double_precision()) == [0, 0]
    assert_alike(RunFolder(run).read_json("result.json"), straight.read_json("result.json"))
    assert_alike(RunFolder(run).records(), straight.records())


def test_a_mistake_is_told_once_by_the_first_of_several(tmp_path: Path) -> None:
    arguments = [*words(tmp_path / "data", "MF", topk=[99]), f"--output_dir={tmp_path}"]
    statuses = together(2, arguments, tmp_path)
    assert statuses == [2, 2]
    told = (tmp_path / "output.0").read_text().splitlines()
    assert [line[:46] for line in told if "error" in line] == ["error: topk: 99 is more than the 26 items of d"]
    assert not (tmp_path / "output.1").read_text()


@pytest.mark.parametrize("n_rows", [1, 5, 6])
def test_the_parts_of_a_batch_are_all_of_it(n_rows: int) -> None:
    batch = Interaction({"user": torch.arange(n_rows)})
    parts = [Ranks(rank, 3).part(batch) for rank in range(3)]
    assert sum(weight for _, weight in parts) == pytest.approx(1)
    assert torch.equal(torch.cat([part["user"] for part, weight in parts if weight]), batch["user"])
    for n_terms in (1, 2, 4):
        terms = torch.arange(1.0, n_terms + 1)
        shares = [(terms_of(part, n_terms), weight) for part, weight in parts]
        total = sum(weight * factor * terms[rows].mean() for (rows, factor), weight in shares)
        assert float(total) == pytest.approx(float(terms.mean()))


def test_torchrun_tells_each_process_its_place() -> None:
    told = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "2"}
    told |= {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
    keys = {"local_rank": 1, "offset": 4, "world_size": 6, "nproc": 2, "ip": "10.0.0.1", "port": "29500"}
    assert place(told) == keys
    assert place({}) == {} and place({**told, "WORLD_SIZE": "1"}) == {}
    assert not first_of_several(told) and first_of_several({}) and first_of_several({**told, "RANK": "0"})
