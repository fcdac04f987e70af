"""Training by descent on one objective: Lightning's own steps, so every Trainer flag works."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from genmodels.capabilities import Labels
from genmodels.training.module import Training


class Descent(Training):
    """Descends the mean of `model.loss`."""

    def trained_parts(self) -> list[tuple[nn.Module, Callable[..., Optimizer]]]:
        return [(self.model, self.optimizer)]

    def training_step(self, batch: tuple[Tensor, Labels | None], batch_idx: int) -> Tensor:
        x, y = batch
        if self.batches % self.batches_per_step == 0:
            self.watch.begin(self.trainer)
        loss = self.mean_loss(self.model.loss(x, y))
        self.batches += 1
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.after_step(step=self.global_step + 1)  # Lightning counts the step when this hook is over
