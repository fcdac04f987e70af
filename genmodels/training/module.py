"""What every training shares: optimizers, schedule, EMA, the clock, logging, exact resume.

`Game` adds how a step is taken. All that a step draws at random is a
function of (seed, batch, process), so a resumed run draws what the uninterrupted one would have.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from itertools import count
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from genmodels.capabilities import Batch, Clock, Condition, Terms
from genmodels.clock import followers, set_clock
from genmodels.data.base import Data
from genmodels.data.loader import Loader
from genmodels.errors import UserError
from genmodels.folds import Folds
from genmodels.seeds import fold, seed_generators
from genmodels.training.checkpoint import BeforeTheEnd, LastCheckpoint
from genmodels.training.ema import EMA, Rule
from genmodels.training.hooks import initialise, initialisers, with_statistics
from genmodels.training.optimizers import Group, MakeOptimizer, grouped, trained_weights
from genmodels.training.sharding import FullySharded, gather_weights, is_sharded, shard
from genmodels.training.watch import NanPolicy, Watch, mean_over_processes

DATA_ORDER, STEP_NOISE = 1, 2  # streams of random numbers: the second argument of fold(seed, ...)


class Training(LightningModule, ABC):
    """Trains a model on a dataset; a subclass says how one step is taken."""

    def __init__(
        self,
        *,
        model: nn.Module,
        data: Data,
        optimizers: Mapping[str, MakeOptimizer],  # by the names of `trained_parts`
        groups: Mapping[str, Group],  # for weights with settings of their own (`training.optimizers`)
        schedule: Callable[[int], float],  # step -> factor of the learning rate
        ema: Rule,
        batch_size: int,  # images a batch, over all processes
        log_every_n_steps: int,
        nan_policy: NanPolicy,  # what to do with a step whose loss or gradient is not finite
        seed: int,
        config: dict,  # the resolved config in plain containers; goes into every checkpoint
    ):
        super().__init__()
        self.model: Any = model  # its capabilities; for type checkers, attributes of an nn.Module are Tensors
        self.ema = None if ema.off else EMA(model, rule=ema)
        self.averages = [] if self.ema is None else [self.ema]  # callbacks may add theirs
        self.data = data
        self.make_optimizers = optimizers
        self.groups = groups
        self.schedule = schedule
        self.batch_size = batch_size
        self.log_every_n_steps = log_every_n_steps
        self.watch = Watch(policy=nan_policy, model=model)
        self.seed = seed
        self.config = config
        self.batches = 0  # taken from the loader since the run began
        self.cut_short = False  # whether the run was ended before what follows a step, such as an evaluation
        self.last_loss: float | None = None  # at the newest logged step
        self.is_evaluating = False  # whether `evaluating` has the model now, so no step is being taken
        self.evaluated: dict[str, float] = {}  # metrics of an evaluation after the newest batch, if there was one
        self._terms: list[dict[str, Tensor]] = []  # of each part of the current optimizer step: mean loss first
        self._pending: dict[str, Tensor] = {}  # terms to be logged with the current step
        self._passed = True  # whether the newest optimizer step was taken
        self._followers = followers(model)
        self._unsharded: list[Any] = []  # an unsharded copy to evaluate, if weights are sharded

    def configure_model(self) -> None:
        """Shards the weights of the model and of its average, if the strategy does so."""
        if isinstance(self.trainer.strategy, FullySharded):
            self._unsharded = [deepcopy(self.model)]
            for model in (self.model, *([] if self.ema is None else [self.ema.model])):
                shard(model, self.trainer.strategy.device_mesh["data_parallel"])

    # The clock and the data

    @property
    def images_seen(self) -> int:
        """Training images taken since the run began, over all processes: the x axis of everything logged."""
        return self.batches * self.batch_size

    @property
    def clock(self) -> Clock:
        """Where the training is."""
        return Clock(self.global_step, self.images_seen, self.trainer.max_steps)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the data that the model is trained on."""
        return self.data.fingerprint("train")

    def train_dataloader(self) -> Iterable[int]:
        """Makes the loader. Lightning only counts how often it calls `training_step`, without end."""
        rank = self.global_rank
        self.loader = Loader(
            split=self.data.training_split(),
            visit=self.data.visit,
            batch_size=self.batch_size // self.trainer.world_size,
            seed=fold(self.seed, DATA_ORDER),
            rank=rank,
            world_size=self.trainer.world_size,
            device=self.device,
        )
        self.noise = Folds(self.seed, lambda pos: (STEP_NOISE, pos, rank))
        return count()

    def begin_batch(self) -> tuple[Batch, Condition]:
        """The next batch, for which the model and the random numbers are prepared."""
        if self.evaluated:
            self.evaluated = {}
        set_clock(self._followers, self.clock)
        batch = self.loader.batch(self.batches)
        if self.batches == 0 and initialisers(self.model):
            initialise(self.model, batch, self.seed)
            for average in self.averages:
                average.start_from(self.model)
        seed_generators(self.noise[self.batches], self.loader.device)
        self.batches += 1
        return batch

    # The model that is evaluated, sampled and shown

    @property
    def weights(self) -> str:
        """Which weights `evaluating` gives: "ema" where they exist, else "raw"."""
        return "raw" if self.ema is None else "ema"

    @contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """The model to evaluate: prepared, in eval mode, without gradients. Afterwards training continues as if nothing
        had happened."""
        model = self.model if self.ema is None else self.ema.follow(self.model)
        if is_sharded(model):
            model = gather_weights(model, self._unsharded[0], self.device)
        training, self.is_evaluating = model.training, True
        try:
            with torch.no_grad():
                set_clock(followers(model.eval()), self.clock)
                with with_statistics(model, self.data, self.device):
                    yield model
        finally:
            self.is_evaluating = False
            model.train(training)

    # Optimizers

    @abstractmethod
    def trained_parts(self) -> dict[str, Sequence[nn.Module]]:
        """The parts that each optimizer trains, by the name of its player; the one that counts steps comes first."""

    def configure_optimizers(self) -> Any:
        return [
            self.make_optimizers[player](grouped(self.model, trained_weights(self.model, modules), self.groups))
            for player, modules in self.trained_parts().items()
        ]

    def set_learning_rate(self, optimizer: Any) -> None:
        """That of the step which is about to be taken; what the config says is kept in the optimizer's state."""
        factor = self.schedule(self.global_step)
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Checks the loss and the averaged, unscaled gradient before the weights change."""
        if self.trainer.scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            self.trainer.scaler.unscale_(optimizer)  # Lightning leaves it to the step of such an optimizer: fused ones
        terms = mean_of_parts(self._terms)
        self._terms.clear()
        self._passed = self.watch.passes(self.trainer, optimizer, terms)
        if self._passed:
            self._pending.update(terms)

    @torch.no_grad()
    def after_move(self, player: str, clock: Clock) -> None:
        """Runs after an optimizer step of a player, if it was taken."""
        if self._passed:
            for part in self._followers:
                part.after_step(player, clock)

    def after_step(self, clock: Clock) -> None:
        """Follows a step of the run, which `clock` counts: of the only optimizer, or of the last player."""
        if self._passed:
            for average in self.averages:
                average.update(self.model, clock)
        if clock.step % self.log_every_n_steps == 0:
            self._log_pending(clock.step)
        self._pending.clear()

    # Logging

    def on_train_start(self) -> None:
        """Does what follows the newest step, such as an evaluation, if the run was ended before it."""
        if self.cut_short:
            self.cut_short = False
            for callback in self._callbacks:
                if not isinstance(callback, LastCheckpoint | BeforeTheEnd):
                    callback.on_train_batch_end(self.trainer, self, None, None, 0)

    def on_fit_end(self) -> None:
        """Does the same after the last step: no step is left, so Lightning has not started to train."""
        if self.cut_short:
            self.to(self.trainer.strategy.root_device)
            for callback in self._callbacks:
                callback.on_train_start(self.trainer, self)
            self.on_train_start()
            for callback in self._callbacks:
                if isinstance(callback, LastCheckpoint):
                    callback.save(self.trainer)
                callback.on_train_end(self.trainer, self)

    @property
    def _callbacks(self) -> Sequence[Callback]:
        return self.trainer.callbacks  # type: ignore[attr-defined]

    def mean_loss(self, terms: Terms, player: str = "") -> Tensor:
        """Mean of terms["loss"]; keeps all terms for the watch and the log, which take means where they need them."""
        if shapeless := [name for name, term in terms.items() if term.ndim != 1]:
            raise UserError(
                f"the loss's term {shapeless[0]!r} has shape {list(terms[shapeless[0]].shape)}, expected one value for "
                "each sample; leave out its mean"
            )
        mean = terms["loss"].mean()
        kept = {"loss": mean.detach()} | {name: term.detach() for name, term in terms.items() if name != "loss"}
        self._terms.append({f"{player}{name}": term for name, term in kept.items()})
        return mean

    def _log_pending(self, step: int) -> None:
        terms = {f"train/{name}": value for name, value in mean_over_processes(self._pending).items()}
        self.last_loss = next(iter(terms.values()), self.last_loss)
        terms["train/lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        if self.watch.may_skip(self.trainer):
            terms["train/skipped_steps"] = self.watch.skipped
        self.record(terms, step)

    def record(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes metrics to every logger at `step`, beside `images_seen`."""
        for logger in self.loggers:
            logger.log_metrics({"images_seen": self.images_seen, **metrics}, step=step)

    def record_evaluation(self, metrics: dict[str, float], step: int) -> None:
        """Writes the metrics of an evaluation to every logger, and keeps them for the best checkpoint."""
        self.evaluated = metrics
        self.record(metrics, step)

    # Checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.watch.require_finite_weights(self.trainer)
        checkpoint["config"] = self.config
        checkpoint["data"] = self.fingerprint
        checkpoint["batches"] = self.batches
        checkpoint["cut_short"] = self.cut_short
        checkpoint["watch"] = self.watch.state_dict()
        checkpoint["images_seen"] = self.images_seen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.batches = checkpoint["batches"]
        self.cut_short = checkpoint["cut_short"]
        self.watch.load_state_dict(checkpoint["watch"])


def mean_of_parts(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each term's mean over the parts of a batch."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([part[name].mean() for part in parts]).mean() for name in parts[0]}
