"""Training as a game: several players, each with its own modules, loss and optimizer (Goodfellow et al. 2014,
https://arxiv.org/abs/1406.2661).

On each batch the players whose turn it is take a step, in their order, while the weights of all others are frozen. The
run's steps are those of the last player: only its steps go through Lightning's counting wrapper. Gradients are averaged
over the processes here, once per step, since DistributedDataParallel expects every parameter to take part in every
backward pass.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from genmodels.capabilities import Batch, Condition, Player
from genmodels.training.module import Training
from genmodels.trees import chunk

Batches = list[tuple[Batch, Condition]]


class Game(Training):
    """Trains the players of the model in turn."""

    automatic_optimization = False

    def __init__(
        self,
        *,
        accumulate: int,  # parts of a batch, one backward pass each
        clip: float | None,  # bound on a player's gradient; None: no clipping
        clip_by: Literal["norm", "value"],  # norm of the whole gradient, or value of each entry
        **shared: Any,
    ):
        super().__init__(**shared)
        self.players: list[Player] = list(self.model.players())
        self.accumulate = accumulate
        self.clip = clip
        self.clip_by = clip_by

    def trained_parts(self) -> dict[str, Sequence[nn.Module]]:
        *others, last = self.players
        return {player.name: player.modules for player in (last, *others)}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if isinstance(
            self.trainer.strategy.model, DistributedDataParallel
        ):  # Lightning sets it to True after every batch
            self.trainer.strategy.model.require_backward_grad_sync = False

    def training_step(self, batch: tuple[Batch, Condition], batch_idx: int) -> None:
        parts = chunk(batch, self.accumulate)
        self.batches += 1
        optimizers = dict(zip(self.trained_parts(), cast(list, self.optimizers()), strict=True))
        for player in self.players:
            if self.batches % player.every == 0:
                self._turn(player, optimizers[player.name], parts)

    def _turn(self, player: Player, optimizer: Any, parts: Batches) -> None:
        """A step of one player; a step of the last player counts as a step of the run."""
        gradient = self._gradient(player, parts)
        with _frozen([other for other in self.players if other is not player]):
            if player is self.players[-1]:
                optimizer.step(gradient)
            else:
                self.trainer.strategy.optimizer_step(optimizer.optimizer, gradient)  # not counted
        self.after_move(player.name, self.clock)
        torch.clear_autocast_cache()  # of weights as they were before the step
        if player is self.players[-1]:
            self.after_step(self.clock)
            for scheduler in cast(list, self.lr_schedulers()):
                scheduler.step()

    def _gradient(self, player: Player, parts: Batches) -> Callable[[], None]:
        """A closure that leaves the gradient of the mean loss over parts and processes into the player's weights."""

        def closure() -> None:
            self.watch.begin(self.trainer)
            for module in player.modules:
                module.zero_grad()
            for x, condition in parts:
                mean = self.mean_loss(player.loss(x, condition), f"{player.name}_") / len(parts)
                with torch.autocast(self.device.type, enabled=False):  # a float32 penalty keeps a float32 derivative
                    self.manual_backward(mean)
            average_gradients(player.modules)

        return closure

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        if self.clip is not None:
            clip = clip_grad_norm_ if self.clip_by == "norm" else clip_grad_value_
            clip([p for group in optimizer.param_groups for p in group["params"]], self.clip)


@contextmanager
def _frozen(players: Sequence[Player]) -> Iterator[None]:
    """Computes no gradients for the weights of these players; gradients still flow through them."""
    weights = [p for player in players for module in player.modules for p in module.parameters() if p.requires_grad]
    for p in weights:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in weights:
            p.requires_grad_(True)


def average_gradients(modules: Sequence[nn.Module]) -> None:
    """Replaces every gradient by its mean over the processes; does nothing in a single process."""
    if not dist.is_initialized():
        return
    for parameter in (p for module in modules for p in module.parameters()):
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
