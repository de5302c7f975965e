"""How a training ends that went wrong: with its state, a record and one line of advice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import recbole.trainer

from recbole_painvrl.errors import UserError
from recbole_painvrl.report.records import RunFolder
from recbole_painvrl.trainer.loss_watch import LossWatch, broken_parameters

_Base: type[Any] = recbole.trainer.Trainer if TYPE_CHECKING else object


class FaultMixin(_Base):
    """The part of :class:`recbole_painvrl.trainer.RunMixin` that stops a training that went wrong."""

    run: RunFolder | None
    _keeps_last: bool
    _watch: LossWatch

    def _check_parameters(self) -> None:
        """The last step of an epoch may spoil a model, which no further loss would tell before its evaluation."""
        broken = broken_parameters(self.model)
        if broken:
            self._fail("a parameter is not a number", ", ".join(broken), parameters=broken)

    def _fail(self, what: str, which: str, **recorded: Any) -> NoReturn:
        epoch, batch = self._watch.epoch, self._watch.batch
        where = f"epoch {epoch}, batch {batch}" + (f" ({which})" if which else "")
        stored = ""
        if self.run and self._keeps_last:
            self._save(self.run.failed_model, epoch)
            stored = f"; the state is in {self.run.failed_model}"
        self.record("failed", epoch=epoch, batch=batch, reason=what, **recorded)
        raise UserError(
            f"{what} in {where}: learning_rate {self.learning_rate} may be too high (try a tenth of it, or "
            f"clip_grad_norm: {{max_norm: 1}}), or a feature file holds extreme values{stored}"
        )
