"""Training by descent on one objective: Lightning's own steps, so every Trainer flag works."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from genmodels.capabilities import Batch, Condition
from genmodels.training.module import Training

PLAYER = "model"  # name of the only player, for hooks


class Descent(Training):
    """Descends the mean of `model.loss`."""

    def trained_parts(self) -> dict[str, Sequence[nn.Module]]:
        return {PLAYER: [self.model]}

    def training_step(self, batch: tuple[Batch, Condition], batch_idx: int) -> Tensor:
        x, condition = batch
        if self.batches % self.batches_per_step == 0:
            self.watch.begin(self.trainer)
        loss = self.mean_loss(self.model.loss(x, condition))
        self.batches += 1
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        clock = self.clock._replace(step=self.global_step + 1)  # Lightning counts the step after this hook
        self.after_move(PLAYER, clock)
        self.after_step(clock)
