"""One trial of a search: trained and validated like a run, and never tested.

Its folder has ``trial.yaml`` and ``validation.json`` where a run has ``config.yaml``, ``result.json`` and ``done``, so
that nothing takes it for a run. Its models are there to continue it and are deleted once it is done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_painvrl.config import Config
from recbole_painvrl.experiment import held, train
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.shapes import NUMBER, check_shape

RESULT = "validation.json"
_NEEDED = {"best_valid_score": NUMBER | None, "best_valid_result": {"": NUMBER | None}}


class TrialFolder(RunFolder):
    """The folder of a trial."""

    config_file = "trial.yaml"

    @property
    def finished(self) -> bool:
        """Whether the trial came to its end."""
        return (self.path / RESULT).exists()

    def validation(self) -> dict[str, Any]:
        """Returns what a finished trial found: ``best_valid_score``, ``best_valid_result`` and more.

        Raises:
            UserError: The file is missing or damaged.
        """
        result = self.read_json(RESULT)
        check_shape(self.path / RESULT, result, _NEEDED, f"delete {self.path} to make this trial again")
        return result

    def finish(self) -> None:
        """Deletes the models, which nothing continues any more."""
        for file in (self.best_model, self.last_model):
            file.unlink(missing_ok=True)


def validate(config: Config, folder: Path, validated: Callable[[int, float], None] | None = None) -> None:
    """Makes the trial of ``config`` in ``folder``, or continues it; does nothing if it is done.

    Args:
        config: The configuration.
        folder: Its folder.
        validated: Told the epoch and the best score so far after each validation of the final training.

    Raises:
        UserError: The folder is in use or cannot be written, or the configuration or data are at fault.
        Interrupted: The user stopped it.
    """
    trial = TrialFolder(folder)
    with held(trial):
        if not trial.finished:
            _run(config, trial, validated)
        trial.finish()


def _run(config: Config, trial: TrialFolder, validated: Callable[[int, float], None] | None) -> None:
    trained = train(config, trial, saved=True, verbose=True, validated=validated)
    trainer = trained.trainer
    result = {
        "valid_metric": config["valid_metric"].lower(),
        "best_valid_score": trained.score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": trained.valid,
        "epochs": len(trainer.train_loss_dict),
        "seconds_train": round(trainer.seconds_train, 3),
        "seconds_eval": round(trainer.seconds_eval, 3),
    }
    trial.write_json(RESULT, result)
