"""An epoch of training steps as RecBole takes them, without waiting for the device after each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import recbole.trainer
import torch
from recbole.data.interaction import Interaction
from recbole.utils import get_gpu_usage, set_color
from torch.nn.utils.clip_grad import clip_grad_norm_
from tqdm import tqdm

from recbole_painvrl.model.transfer import moved

_Base: type[Any] = recbole.trainer.Trainer if TYPE_CHECKING else object


class StepsMixin(_Base):
    """RecBole's epoch with the same steps and the same sums, bit for bit; list it before RecBole's trainer.

    RecBole reads each part of each loss on the host, which on a GPU waits for the step that has just been launched.
    Here sums stay on the device until the epoch is over, and batches are copied to it from pinned memory. Gradients are
    clipped in their own scale, where RecBole clips those that mixed precision has scaled. Several processes go
    RecBole's own way.
    """

    def _train_epoch(
        self,
        train_data: Any,
        epoch_idx: int,
        loss_func: Callable[..., Any] | None = None,
        show_progress: bool = False,
    ) -> float | tuple[float, ...]:
        if not self.config["single_spec"]:
            return super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        self.model.train()
        compute = loss_func or self.model.calculate_loss
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.enable_scaler)
        title = set_color(f"Train {epoch_idx:>5}", "pink")
        bar = tqdm(train_data, total=len(train_data), ncols=100, desc=title, disable=not show_progress)
        total, several = torch.zeros((), dtype=torch.float64, device=self.device), False
        for interaction in bar:
            self.optimizer.zero_grad()
            with torch.autocast(self.device.type, enabled=self.enable_amp):
                losses = compute(self._on_device(interaction))
            several = isinstance(losses, tuple)
            parts = losses if isinstance(losses, tuple) else (losses,)
            total = total + torch.stack([part.detach().double() for part in parts])
            self._step(sum(parts), scaler)
            if show_progress and self.gpu_available:
                bar.set_postfix_str(set_color(f"GPU RAM: {get_gpu_usage(self.device)}", "yellow"))
        self.optimizer.zero_grad()  # as large as the model, and nobody reads them in what comes between epochs
        sums = total.reshape(-1).tolist()
        return tuple(sums) if several else sums[0]

    def _step(self, loss: Any, scaler: torch.amp.GradScaler) -> None:
        self._check_nan(loss)
        scaler.scale(loss).backward()
        if self.clip_grad_norm:
            scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), **self.clip_grad_norm)
        scaler.step(self.optimizer)
        scaler.update()

    def _on_device(self, interaction: Interaction) -> Interaction:
        if self.device.type != "cuda":
            return interaction.to(self.device)
        batch = Interaction({name: moved(one, self.device) for name, one in interaction.interaction.items()})
        batch.host = interaction
        return batch
