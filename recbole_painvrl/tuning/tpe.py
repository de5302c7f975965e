"""Proposals by the tree of Parzen estimators of Hyperopt: finished trials say where to look next.

Source: Bergstra et al., NeurIPS 2011, as implemented by the library hyperopt.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from recbole_painvrl.errors import UserError
from recbole_painvrl.randomness import derive_seed
from recbole_painvrl.tuning.proposals import Finished, Parameters, Random
from recbole_painvrl.tuning.space import Choice, Space, Uniform, Whole

# Hyperopt's own number of random trials before estimators are any good
RANDOM_TRIALS = 20


class Tpe:
    """Hyperopt's ``tpe.suggest``, asked for one proposal at a time; the first 20 trials are those of ``Random``.

    Args:
        space: The space.
        seed: The seed.

    Raises:
        UserError: Hyperopt cannot be used here.
    """

    most = None

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seed = space, seed
        self._hyperopt = _hyperopt()
        nodes = {parameter.name: self._node(parameter) for parameter in space}
        self._domain = self._hyperopt.base.Domain(_unused, nodes)
        self._random = Random(space, seed)

    def propose(self, number: int, attempt: int, finished: Sequence[Finished]) -> Parameters:
        """Returns a proposal; trials that failed tell nothing."""
        if number < RANDOM_TRIALS:
            return self._random.propose(number, attempt, finished)
        trials = self._hyperopt.Trials()
        good = [(parameters, loss) for parameters, loss in finished if loss is not None]
        trials.insert_trial_docs([self._document(index, *one) for index, one in enumerate(good)])
        trials.refresh()
        seed = derive_seed(self._seed, f"search trial {number}, attempt {attempt}") % 2**31
        (document,) = self._hyperopt.tpe.suggest([len(good)], self._domain, trials, seed, n_startup_jobs=1)
        drawn = document["misc"]["vals"]
        return {parameter.name: self._value(parameter, drawn[parameter.name][0]) for parameter in self._space}

    def _node(self, parameter: Any) -> Any:
        hp = self._hyperopt.hp
        if isinstance(parameter, Choice):
            return hp.choice(parameter.name, list(range(len(parameter.options))))
        if isinstance(parameter, Uniform):
            return hp.uniform(parameter.name, parameter.low, parameter.high)
        if isinstance(parameter, Whole):
            # half a step more on both sides makes all whole numbers equally likely
            return hp.uniform(parameter.name, parameter.low - 0.5, parameter.high + 0.5)
        return hp.uniform(parameter.name, parameter.low, parameter.high)

    def _value(self, parameter: Any, drawn: float) -> Any:
        """Returns the value that stands for a number of Hyperopt's."""
        if isinstance(parameter, Choice):
            return parameter.options[int(drawn)]
        if isinstance(parameter, Whole):
            return min(max(round(float(drawn)), parameter.low), parameter.high)
        return parameter.value(float(drawn))

    def _document(self, index: int, parameters: Mapping[str, Any], loss: float) -> dict[str, Any]:
        """Returns a finished trial as Hyperopt keeps it."""
        drawn = {one.name: [_number(one, parameters[one.name])] for one in self._space}
        return {
            "tid": index,
            "spec": None,
            "state": self._hyperopt.JOB_STATE_DONE,
            "result": {"status": self._hyperopt.STATUS_OK, "loss": loss},
            "misc": {
                "tid": index,
                "cmd": self._domain.cmd,
                "workdir": None,
                "idxs": {name: [index] for name in drawn},
                "vals": drawn,
            },
            "exp_key": None,
            "owner": None,
            "version": 0,
            "book_time": None,
            "refresh_time": None,
        }


def _number(parameter: Any, value: Any) -> float | int:
    """Returns the number of Hyperopt's that stands for a value."""
    if isinstance(parameter, Choice):
        return parameter.options.index(value)
    if isinstance(parameter, Uniform) and parameter.log:
        return math.log(value)
    return float(value)


def _unused(parameters: Any) -> float:
    return 0.0


def _hyperopt() -> Any:
    """Returns the module ``hyperopt``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pkg_resources' end, on import
            import hyperopt
            import hyperopt.base
            import hyperopt.tpe
    except (ImportError, AttributeError) as error:  # the latter by the names that numpy 2 has no more
        reason = " ".join(str(error).split())
        raise UserError(
            f"--algo=tpe: Hyperopt cannot be imported ({reason}); `pip install recbole_painvrl[hyperopt]` mends it, or "
            "use --algo=random"
        ) from error
    return hyperopt
