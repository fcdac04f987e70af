"""Training as a game of two players (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661).

The discriminator takes `model.discriminator_steps` optimizer steps, each on fresh data, then the generator
takes one, on the last of these batches. A step of the run is a generator's step: only that one is taken
through Lightning's counting wrapper. Gradients are averaged over the processes here, once a step, since
DistributedDataParallel expects every parameter to take part in every backward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from genmodels.capabilities import Labels, Terms
from genmodels.training.module import Training

Batches = list[tuple[Tensor, Tensor | None]]


class Adversarial(Training):
    """Plays `model.generator` against `model.discriminator`."""

    automatic_optimization = False

    def __init__(
        self,
        *,
        discriminator_optimizer: Callable[..., Optimizer],
        accumulate: int,  # parts that a batch is cut into, one backward pass each
        clip: float | None,  # bound on a player's gradient; None: no clipping
        clip_by: Literal["norm", "value"],  # norm of the whole gradient, or value of each entry
        **shared: Any,
    ):
        super().__init__(**shared)
        self.discriminator_optimizer = discriminator_optimizer
        self.accumulate = accumulate
        self.clip = clip
        self.clip_by = clip_by

    def trained_parts(self) -> list[tuple[nn.Module, Callable[..., Optimizer]]]:
        return [
            (self.model.generator, self.optimizer),
            (self.model.discriminator, self.discriminator_optimizer),
        ]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if isinstance(self.trainer.strategy.model, DistributedDataParallel):  # Lightning turns it on after every batch
            self.trainer.strategy.model.require_backward_grad_sync = False

    def training_step(self, batch: tuple[Tensor, Labels | None], batch_idx: int) -> None:
        parts = self._parts(*batch)
        generator, discriminator = cast(list, self.optimizers())
        with _frozen(self.model.generator):
            gradient = self._gradient(self.model.discriminator_loss, parts, self.model.discriminator, "discriminator")
            self.trainer.strategy.optimizer_step(discriminator.optimizer, gradient)  # not counted as a step
        torch.clear_autocast_cache()  # of weights as they were before the step
        self.batches += 1
        if self.batches % self.model.discriminator_steps == 0:
            with _frozen(self.model.discriminator):
                generator.step(self._gradient(self.model.generator_loss, parts, self.model.generator, "generator"))
            self.after_step(step=self.global_step)
            for scheduler in cast(list, self.lr_schedulers()):
                scheduler.step()

    def _parts(self, x: Tensor, y: Labels | None) -> Batches:
        ys = [None] * self.accumulate if y is None else y.chunk(self.accumulate)
        return list(zip(x.chunk(self.accumulate), ys, strict=True))

    def _gradient(self, loss: Callable[..., Terms], parts: Batches, player: nn.Module, name: str) -> Callable[[], None]:
        """A closure that leaves the gradient of the mean loss over all parts and processes in `player`."""

        def closure() -> None:
            self.watch.begin(self.trainer)
            player.zero_grad()
            for x, y in parts:
                mean = self.mean_loss(loss(x, y), f"{name}_") / len(parts)
                with torch.autocast(self.device.type, enabled=False):  # else a float32 penalty's derivative is not
                    self.manual_backward(mean)
            average_gradients(player)

        return closure

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        if self.clip is not None:
            clip = clip_grad_norm_ if self.clip_by == "norm" else clip_grad_value_
            clip(optimizer.param_groups[0]["params"], self.clip)


@contextmanager
def _frozen(player: nn.Module) -> Iterator[None]:
    """No gradients for the weights of the player whose turn it is not; they still flow through it."""
    player.requires_grad_(False)
    try:
        yield
    finally:
        player.requires_grad_(True)


def average_gradients(module: nn.Module) -> None:
    """Replaces every gradient by its mean over the processes; does nothing in a single process."""
    if not dist.is_initialized():
        return
    for parameter in module.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
