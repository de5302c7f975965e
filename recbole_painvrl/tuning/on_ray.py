"""Trials on Ray: Ray Tune deals them out, ASHA stops early what is not promising.

Source of ASHA: Li et al., MLSys 2020, as implemented by Ray Tune.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_painvrl.comparison.cores import wanted_threads
from recbole_painvrl.comparison.local import wants_gpu
from recbole_painvrl.comparison.on_ray import connected
from recbole_painvrl.comparison.plan import Task
from recbole_painvrl.errors import UserError
from recbole_painvrl.tuning.plan import Plan
from recbole_painvrl.tuning.proposals import next_proposal
from recbole_painvrl.tuning.ray_trial import SCORE, ray_trial, reason_of, reported
from recbole_painvrl.tuning.record import Trial
from recbole_painvrl.tuning.schedule import TrialProgress, collect, fail

if TYPE_CHECKING:
    from recbole_painvrl.tuning.places import Places

REDUCTION = 3
_ENDED = ("done", "stopped")
_SETTINGS = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the trials write records of their own
    "TUNE_DISABLE_AUTO_CALLBACK_SYNCER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails reports nothing
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_AIR_NEW_OUTPUT": "0",  # its tables would stand between our lines
}


def make_trials(plan: Plan, places: Places) -> None:
    """Makes all trials of a search that are not done, and notes in its record what became of each.

    Trials that are done are not made again; they report what they reported, so that ASHA goes on as if it had not been
    interrupted.

    Raises:
        UserError: Ray cannot be used here, or has not what a trial asks for.
        KeyboardInterrupt: The user stopped it.
    """
    record = plan.record
    for trial in record.trials:
        collect(plan, trial)
    _propose(plan)
    tasks = _tasks(plan)
    record.write_trials()
    if all(record.trials[number].state in _ENDED for number in tasks):
        return
    os.environ.update(_SETTINGS)
    ray = connected(places.address, "--tool=Ray", "--tool=Hyperopt")
    try:
        _tune(plan, places, tasks, _resources(ray, plan, places))
    finally:
        ray.shutdown()
        for trial in record.trials:
            if trial.state == "running":
                trial.state = "interrupted"
                collect(plan, trial)
        record.write_trials()


def _propose(plan: Plan) -> None:
    """Adds to the record what is missing of the trials; no proposal depends on a result here."""
    trials = plan.record.trials
    while len(trials) < plan.n_trials:
        parameters = next_proposal(plan.proposer, len(trials), [trial.parameters for trial in trials], ())
        if parameters is None:
            return
        plan.record.add(parameters)


def _tasks(plan: Plan) -> dict[int, Task]:
    """Returns the trials by number, without those whose parameters make no configuration."""
    tasks = {}
    for trial in plan.record.trials[: plan.n_trials]:
        try:
            tasks[trial.number] = plan.task(trial)
        except UserError as error:
            fail(trial, str(error))
    return tasks


def _resources(ray: Any, plan: Plan, places: Places) -> dict[str, float]:
    """Returns what each trial gets: as the user says, or one GPU if the cluster has any and trials may use one.

    Raises:
        UserError: The cluster has less; Ray would wait for it for ever.
    """
    there = ray.cluster_resources()
    gpus = places.gpus
    if gpus is None:
        gpus = float(bool(there.get("GPU")) and wants_gpu([plan.base.plain()]))
    wanted = {"cpu": float(places.cpus or wanted_threads() or 1), "gpu": gpus}
    for name, amount in wanted.items():
        most = there.get(name.upper(), 0.0)
        if amount > most:
            raise UserError(f"--{name}s_per_trial: a trial asks for {amount:g}, but the cluster has {most:g}")
    return wanted


def _tune(plan: Plan, places: Places, tasks: dict[int, Task], resources: dict[str, float]) -> None:
    from ray import tune
    from ray.air import FailureConfig, RunConfig

    ended = frozenset(number for number in tasks if plan.record.trials[number].state in _ENDED)
    function = tune.with_parameters(ray_trial, tasks=tasks, ended=ended, threads=max(1, int(resources["cpu"])))
    tuner = tune.Tuner(
        tune.with_resources(function, resources),
        # those that are done first: ASHA has to know them before the others begin
        param_space={"number": tune.grid_search(sorted(tasks, key=lambda number: (number not in ended, number)))},
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="max" if plan.bigger else "min",
            scheduler=asha((task.settings for task in tasks.values()), plan.search.grace_period),
            max_concurrent_trials=places.max_concurrent,
            trial_dirname_creator=lambda trial: f"trial-{trial.config['number']}",
        ),
        run_config=RunConfig(
            name=_name(plan.record.path),
            storage_path=str(Path(places.storage_path or plan.record.path / "ray").resolve()),
            callbacks=[_listener(plan, ended), _quiet()],
            failure_config=FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    tuner.fit()


def _name(folder: Path) -> str:
    """Returns what Tune calls a search: its time and folder, and what no other has that shares ``--storage_path``."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{folder.name}-{secrets.token_hex(4)}"


def asha(trials: Iterable[Mapping[str, Any]], grace_period: int) -> Any:
    """Returns Ray's scheduler that stops what is worse than two thirds of the others after as many validations.

    Validations are those of the final training, the only ones that a trial reports.

    Args:
        trials: The configurations of all trials; ``epochs`` and ``eval_step`` are read.
        grace_period: Validations of a trial's final training before which nothing is stopped.
    """
    from ray.tune.schedulers import AsyncHyperBandScheduler

    n_validations = max(math.ceil(int(trial["epochs"]) / int(trial["eval_step"])) for trial in trials)
    return AsyncHyperBandScheduler(
        max_t=n_validations + 1,  # one more than any trial ever reports: each ends by itself
        grace_period=min(grace_period, n_validations),
        reduction_factor=REDUCTION,
    )


def _quiet() -> Any:
    """Returns what Tune reports progress to, which says nothing: the search has lines of its own."""
    from ray.tune.progress_reporter import TrialProgressCallback

    class Quiet(TrialProgressCallback):
        """Says nothing."""

        def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
            """Does nothing."""

        def _print(self, text: str) -> None:
            """Does nothing."""

    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it misses the logs of its own that are switched off
    return Quiet()


def _listener(plan: Plan, ended: frozenset[int]) -> Any:
    """Returns the object that Tune tells what becomes of each trial."""
    from ray.tune import Callback

    progress = TrialProgress(plan)

    class Listener(Callback):
        """Keeps the record of the search."""

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._note(trial, "running")

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._note(trial, "stopped")

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            self._note(trial, "failed")

        def _note(self, ray_trial: Any, state: str) -> None:
            trial = plan.record.trials[ray_trial.config["number"]]
            if trial.number in ended:
                return
            end(plan, trial, state)
            plan.record.write_trials()
            if state != "running":
                progress.ended(trial)

    return Listener()


def end(plan: Plan, trial: Trial, state: str) -> None:
    """Notes the state of a trial; it is done, whatever Tune calls that, if its folder says so."""
    trial.state, trial.error = state, None
    folder = plan.record.folder(trial)
    reason = reason_of(folder)
    if state == "failed" or (state == "stopped" and reason):
        fail(trial, reason or "its process ended without an answer; is there enough memory for so many at once?")
    elif state == "stopped":
        trial.score = next(reversed(reported(folder).values()), None)
    collect(plan, trial)
