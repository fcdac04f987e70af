"""Training as a game: several players, each with its own modules, loss and optimizer (Goodfellow et al. 2014,
https://arxiv.org/abs/1406.2661). Descent on one loss is the game of one player.

On each batch the players whose turn it is take a step, in their order, while the weights of all others are frozen. The
run's steps are those of the last player: only its steps go through Lightning's counting wrapper.

Lightning calls `training_step` for many steps at once, up to the next one that a callback waits for: its hooks cost
more than a small model's step.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from pytorch_lightning import Callback
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from genmodels.capabilities import Batch, Condition, HasPlayers, Player
from genmodels.training.module import Training
from genmodels.training.pace import Pace, follows_steps
from genmodels.trees import chunk

Batches = list[tuple[Batch, Condition]]

PLAYER = "model"  # name of the only player of a model that has one loss


def players_of(model: Any) -> list[Player]:
    """The players of a model; one if it has one loss."""
    if isinstance(model, HasPlayers):
        return list(model.players())
    return [Player(PLAYER, [model], lambda x, condition: model.loss(x, condition), 1)]  # sharding replaces `loss`


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
        self.players = players_of(self.model)
        self.accumulate = accumulate
        self.clip = clip
        self.clip_by = clip_by
        self.pace = Pace()
        self.step_callbacks: list[Callback] = []  # those that are called at each step

    def trained_parts(self) -> dict[str, Sequence[nn.Module]]:
        *others, last = self.players
        return {player.name: player.modules for player in (last, *others)}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Keeps DistributedDataParallel, which expects all weights in each backward pass, out of a game of several."""
        wrapped = self.trainer.strategy.model
        if isinstance(wrapped, DistributedDataParallel) and len(self.players) > 1:  # Lightning sets it to True again
            wrapped.require_backward_grad_sync = False

    def training_step(self, batch: int, batch_idx: int) -> None:
        """Takes the steps up to the next one that a callback waits for, and looks whether they were finite."""
        self.step_callbacks = [callback for callback in self._callbacks if follows_steps(callback)]
        optimizers = dict(zip(self.trained_parts(), cast(list[LightningOptimizer], self.optimizers()), strict=True))
        with self.pace.measured(self.trainer) as steps:
            end = self.global_step + steps
            while (step := self.global_step) < end:
                self.watch.closely = step + 1 == end
                self._step(self.begin_batch(), optimizers)
            self.watch.look(self.trainer)

    def optimizers(self, use_pl_optimizer: bool = True) -> list[Any]:
        """Lightning's, as a list also where there is one."""
        found = super().optimizers(use_pl_optimizer)
        return found if isinstance(found, list) else [found]

    def _step(self, batch: tuple[Batch, Condition], optimizers: dict[str, LightningOptimizer]) -> None:
        """The turns of the players on one batch."""
        parts = chunk(batch, self.accumulate) if self.accumulate > 1 else [batch]
        for player in self.players:
            if self.batches % player.every == 0:
                self._turn(player, optimizers[player.name], parts)

    def _turn(self, player: Player, optimizer: LightningOptimizer, parts: Batches) -> None:
        """A step of one player; a step of the last player counts as a step of the run."""
        self.set_learning_rate(optimizer)
        gradient = partial(self._gradient, player, optimizer, parts)
        with _frozen([other for other in self.players if other is not player]):
            if player is self.players[-1]:
                optimizer.step(gradient)
            else:
                self.trainer.strategy.optimizer_step(optimizer.optimizer, gradient)  # not counted
        clock = self.clock
        self.after_move(player.name, clock)
        torch.clear_autocast_cache()  # of weights as they were before the step
        if player is self.players[-1]:
            self.after_step(clock)

    def _gradient(self, player: Player, optimizer: LightningOptimizer, parts: Batches) -> None:
        """Leaves the gradient of the mean loss over parts and processes in the player's weights."""
        self.watch.begin(self.trainer)
        for callback in self.step_callbacks:
            callback.on_before_zero_grad(self.trainer, self, optimizer.optimizer)
        for p in moved_weights(optimizer):
            p.grad = None
        prefix = f"{player.name}_" if len(self.players) > 1 else ""
        for i, (x, condition) in enumerate(parts, 1):
            mean = self.mean_loss(player.loss(x, condition), prefix)
            mean = mean / len(parts) if len(parts) > 1 else mean
            with self._synchronized(i == len(parts)), self._full_precision():
                self._backward(mean)
        if len(self.players) > 1:
            average_gradients(player.modules)

    def _backward(self, loss: Tensor) -> None:
        """As Lightning's `manual_backward`, which spends more on the hooks of callbacks than a small model needs."""
        for callback in self.step_callbacks:
            callback.on_before_backward(self.trainer, self, loss)
        self.trainer.strategy.pre_backward(loss)
        scaler = self.trainer.scaler
        self.backward(loss if scaler is None else scaler.scale(loss))
        for callback in self.step_callbacks:
            callback.on_after_backward(self.trainer, self)

    def _full_precision(self) -> AbstractContextManager:
        """Turns autocast off: a float32 penalty keeps a float32 derivative."""
        kind = self.loader.device.type
        return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()

    def _synchronized(self, now: bool) -> AbstractContextManager:
        """Whether DistributedDataParallel averages the gradient over the processes in a backward pass."""
        wrapped = self.trainer.strategy.model
        return nullcontext() if now or not isinstance(wrapped, DistributedDataParallel) else wrapped.no_sync()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        if self.clip is not None:
            clip = clip_grad_norm_ if self.clip_by == "norm" else clip_grad_value_
            clip(moved_weights(optimizer), self.clip)


def moved_weights(optimizer: Any) -> list[Parameter]:
    """All weights that an optimizer moves."""
    return [p for group in optimizer.param_groups for p in group["params"]]


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
