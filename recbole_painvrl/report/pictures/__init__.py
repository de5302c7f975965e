"""The pictures of a report, one module a subject; each returns a drawing, or says what the records lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recbole_painvrl.report.pictures.environments import assignment, environment_sizes
from recbole_painvrl.report.pictures.mask import mask_rounds, mask_truth
from recbole_painvrl.report.pictures.pareto import pareto_steps, risk_path
from recbole_painvrl.report.pictures.shift import shift_curve
from recbole_painvrl.report.pictures.trade_off import trade_off_curve
from recbole_painvrl.report.pictures.training import training_curves
from recbole_painvrl.report.selection import Selected
from recbole_painvrl.report.sheet import Drawing

# of one model with rounds on one data set
OF_ROUNDS: dict[str, Callable[[Selected], Drawing]] = {
    "mask_rounds": mask_rounds,
    "mask_truth": mask_truth,
    "environment_sizes": environment_sizes,
    "assignment": assignment,
    "pareto_steps": pareto_steps,
}
# of all models on one data set, by the metric shown
OF_DATA: dict[str, Callable[[Sequence[Selected], str], Drawing]] = {
    "trade_off": trade_off_curve,
    "shift": shift_curve,
}

__all__ = ["OF_DATA", "OF_ROUNDS", "risk_path", "training_curves"]
