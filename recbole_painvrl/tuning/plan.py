"""From a command to its search; whatever is wrong in the command is found here, before the first trial trains."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.comparison.record import Cell
from recbole_painvrl.config import Config, config_hash, data_files
from recbole_painvrl.config_keys import PROCESS_KEYS, general_keys
from recbole_painvrl.data.contents import check_same_data
from recbole_painvrl.errors import UserError, nearest, one_of
from recbole_painvrl.quick_start import configure
from recbole_painvrl.report.runs import PLACE_KEYS
from recbole_painvrl.shapes import check_shape
from recbole_painvrl.tuning.grammar import check_keys, parse_space
from recbole_painvrl.tuning.proposals import Proposer, make_proposer
from recbole_painvrl.tuning.record import ADVICE, FILE, TRIALS, Record, Trial
from recbole_painvrl.tuning.space import Space

TOOLS = ("Hyperopt", "Ray")
ALGORITHMS = ("exhaustive", "random", "tpe")
DEFAULT_TRIALS = 30
DEFAULT_GRACE = 5  # also that of every search.json that names none
# What a validation score is of, and what it is compared with.
_MEASURE = """
    model dataset metrics topk valid_metric metric_decimal_place eval_args eval_groups eval_step eval_batch_size
    ood_split benchmark_filename test_candidates repeatable reproducibility rm_dup_inter val_interval threshold
    user_inter_num_interval item_inter_num_interval
"""
_RECORDED = {
    "model": str | None,
    "dataset": str | None,
    "seed": int | None,
    "config_files": [str],
    "keys": {"": str},
    "params_file": str,
    "space": str,
    "tool": str,
    "algorithm": str,
    "trials": int | None,
    "grace_period": int | None,
}
FIXED_KEYS = PLACE_KEYS.union(PROCESS_KEYS, _MEASURE.split())


@dataclass(frozen=True)
class Search:
    """What the command line asked for.

    Attributes:
        model: Name; None for the configuration's.
        dataset: Name; None for the configuration's.
        seed: The seed of all trials and of the proposals; None for the configuration's.
        config_files: YAML files, which count for every trial.
        keys: Raw ``key: value`` of the command line, which count for every trial.
        params_file: Name of the file with the space.
        space: Its text.
        tool: ``Hyperopt`` (processes on this machine) or ``Ray``.
        algorithm: ``exhaustive``, ``random`` or ``tpe``.
        trials: How many trials; None for :data:`DEFAULT_TRIALS`, or for the whole grid of ``exhaustive``.
        grace_period: Ray: validations of the final training before which ASHA stops no trial; nothing else reads it.
    """

    model: str | None
    dataset: str | None
    seed: int | None
    config_files: tuple[str, ...]
    keys: Mapping[str, str]
    params_file: str
    space: str
    tool: str = "Hyperopt"
    algorithm: str = "random"
    trials: int | None = None
    grace_period: int = DEFAULT_GRACE

    @classmethod
    def recorded(cls, record: Record) -> Search:
        """Returns the search that a ``search.json`` holds as ``command``.

        One without ``grace_period``, of a time when it was not recorded, has the default.

        Raises:
            UserError: A key of it is missing or damaged.
        """
        check_shape(record.path / FILE, record.command, _RECORDED, ADVICE)
        content: dict[str, Any] = {key: record.command.get(key) for key in _RECORDED}
        if content["grace_period"] is None:
            content["grace_period"] = DEFAULT_GRACE
        return cls(**{**content, "config_files": tuple(content["config_files"])})

    def configuration(self, parameters: Mapping[str, Any]) -> Config:
        """Returns the configuration of a trial with ``parameters``, or the base of all without any.

        Raises:
            UserError: A key or a value is at fault.
        """
        keys = dict(self.keys) if self.seed is None else {**self.keys, "seed": str(self.seed)}
        return configure(self.model, self.dataset, self.config_files, parameters, keys)


@dataclass(frozen=True)
class Plan:
    """A search that can begin.

    Attributes:
        search: What was asked for.
        base: The configuration that the trials change.
        space: The space.
        proposer: Who says what is tried next.
        record: Its records; no trial is in it yet.
        n_trials: How many trials count: the first ones, also where a search of more was made in the same folder.
    """

    search: Search
    base: Config
    space: Space = field(repr=False)
    proposer: Proposer
    record: Record
    n_trials: int

    @property
    def bigger(self) -> bool:
        """Whether larger scores are better."""
        return bool(self.base["valid_metric_bigger"])

    @property
    def counted(self) -> Record:
        """The records with none but the trials that count, to choose from and to show."""
        return replace(self.record, trials=self.record.trials[: self.n_trials])

    def take_over(self, former: Record) -> None:
        """Takes over the trials and the winner of the same search as it was left.

        Raises:
            UserError: A trial has other parameters than the space.
        """
        names = {parameter.name for parameter in self.space}
        for trial in former.trials:
            if set(trial.parameters) != names:
                wanted, found = (", ".join(sorted(one)) or "none" for one in (names, trial.parameters))
                place = f"{former.path / TRIALS}, line {trial.number + 1}"
                raise UserError(f"{place}: expected the parameters {wanted}, found {found}; {ADVICE}")
        self.record.trials, self.record.winner = former.trials, former.winner
        if self.record.places is None:
            self.record.places = former.places

    def task(self, trial: Trial) -> Task:
        """Returns a trial as a task.

        Raises:
            UserError: Its parameters make no configuration.
        """
        settings = self.search.configuration(trial.parameters).plain()
        settings["output_dir"] = str(self.record.path)  # its logs stay in the search's folder
        folder = self.record.folder(trial)
        cell = Cell(settings["model"], settings["dataset"], trial.number, str(folder))
        return Task(cell, folder, settings, os.getcwd(), tested=False)


def plan(search: Search) -> Plan:
    """Returns a search that can begin.

    Raises:
        UserError: The tool, the algorithm, the space, a key or a value are at fault.
    """
    one_of("--tool", search.tool, TOOLS)
    one_of("--algo", search.algorithm, ALGORITHMS)
    if search.trials is not None and search.trials < 1:
        raise UserError(f"--max_evals, --num_samples: expected a number of at least 1, but got {search.trials}")
    if search.grace_period < 1:
        raise UserError(f"--grace_period: expected a number of at least 1, but got {search.grace_period}")
    space = parse_space(search.space, search.params_file)
    base = search.configuration({})
    known = set(base.internal_config_dict) | general_keys()
    check_keys(space, search.space, search.params_file, known, FIXED_KEYS)
    _check_base(search, base, space)
    proposer = make_proposer(search.algorithm, space, int(base["seed"]))
    digest = config_hash(base)
    record = Record(_folder(search, base, space, digest), asdict(search), digest)
    files = data_files(base)
    for trial in sorted(record.path.glob("trials/*")):
        check_same_data(trial, files)
    wanted = search.trials or proposer.most or DEFAULT_TRIALS
    return Plan(search, base, space, proposer, record, min(wanted, proposer.most or wanted))


def _check_base(search: Search, base: Config, space: Space) -> None:
    twice = [parameter.name for parameter in space if parameter.name in search.keys]
    if twice:
        raise UserError(f"--{twice[0]} is given, and {search.params_file} searches {twice[0]}; keep one of the two")
    if not base["eval_step"]:
        raise UserError(
            "eval_step is 0: nothing would be validated, but a search chooses by validation; give 1 or more"
        )
    if search.tool == "Ray" and search.algorithm == "tpe":
        raise UserError("--tool=Ray draws at random and stops early what is not promising; leave out --algo=tpe")
    if search.tool == "Ray" and base["gpu_id"]:
        raise UserError("--gpu_id: with --tool=Ray, Ray deals GPUs out; leave it out, or give '' for the CPU")


def _folder(search: Search, base: Config, space: Space, digest: str) -> Path:
    """Returns the search's folder: the same search always has the same one, however many trials it is to have."""
    content: list[Any] = [digest, list(map(repr, space)), search.tool, search.algorithm]
    if search.tool == "Ray" and search.grace_period != DEFAULT_GRACE:  # the default names nothing, as it always did
        content.append(search.grace_period)
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]
    return Path(base["output_dir"]) / "searches" / name


def algorithm_named(name: str | None) -> str:
    """Returns the algorithm of a name, RecBole's ``bayes`` included; ``random`` if nothing is said.

    Raises:
        UserError: There is none of this name.
    """
    name = "tpe" if name == "bayes" else name or "random"
    if name not in ALGORITHMS:
        raise UserError(
            f"--algo: there is no '{name}'; expected one of {', '.join(ALGORITHMS)}.{nearest(name, ALGORITHMS)}"
        )
    return name
