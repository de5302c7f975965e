"""Trainers: RecBole's with run folders, and those of this package's models."""

from recbole_painvrl.trainer.multimodal_trainer import MultimodalTrainer
from recbole_painvrl.trainer.painvrl_trainer import PaInvRLTrainer
from recbole_painvrl.trainer.run_trainer import RunMixin, Trainer

__all__ = ["MultimodalTrainer", "PaInvRLTrainer", "RunMixin", "Trainer"]
