"""Repair of RecBole's trainers of models that are trained in stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole.trainer import PretrainTrainer

# A mixin of its own at run time, so that it stands before any of RecBole's classes.
_Base: type[Any] = PretrainTrainer if TYPE_CHECKING else object


class PretrainRepairs(_Base):
    """Mixin before a RecBole ``PretrainTrainer`` whose ``_save_checkpoint`` writes plain data.

    RecBole pickles its configuration into the file of a pretraining stage, so the next stage cannot read it; stores
    nothing at all if there are fewer epochs than ``save_step``; and never validates a pretraining stage, so that it has
    no result.

    Source: https://github.com/RUCAIBox/RecBole/blob/v1.2.1/recbole/trainer/trainer.py (line 757)
    """

    best_valid_score: float
    best_valid_result: dict[str, float] | None

    def save_pretrained_model(self, epoch: int, saved_model_file: str) -> None:
        """Writes the model of a pretraining stage where RecBole writes it, as plain data."""
        self._save_checkpoint(epoch, verbose=False, saved_model_file=saved_model_file)

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[float, dict[str, float] | None]:
        """Trains the stage, then validates and stores its model if the stage itself did not."""
        super().fit(train_data, valid_data, verbose, saved, *args, **kwargs)
        if self.best_valid_result is None:
            self.eval_collector.data_collect(train_data)
            if valid_data:
                self.best_valid_score, self.best_valid_result = self._valid_epoch(valid_data)
            if saved:
                self._save_checkpoint(self.pretrain_epochs - 1, verbose=verbose)
        return self.best_valid_score, self.best_valid_result
