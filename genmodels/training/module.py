"""What every training shares: optimizers, schedule, EMA, the clock, logging, exact resume.

`Descent` and `Adversarial` add how one step is taken. All that a step draws at random is a
function of (seed, batch, process), so a resumed run draws what the uninterrupted one would have.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from genmodels.capabilities import Terms
from genmodels.data.base import Data
from genmodels.data.loader import Loader
from genmodels.errors import Fault
from genmodels.seeds import fold
from genmodels.training.ema import EMA
from genmodels.training.loggers.csv import CSVLogger

DATA_ORDER, STEP_NOISE = 1, 2  # streams of random numbers: what comes second in fold(seed, ...)


class Training(LightningModule, ABC):
    """Trains a model on a dataset; a subclass says how one step is taken."""

    def __init__(
        self,
        *,
        model: nn.Module,
        data: Data,
        optimizer: Callable[..., Optimizer],
        schedule: Callable[[int], float],  # step -> factor of the learning rate
        ema_decay: float,  # 0: no EMA
        batch_size: int,  # images a batch of the loader, over all processes
        batches_per_step: int,  # of the loader, where a step accumulates several; the loader never ends within a step
        log_every_n_steps: int,
        seed: int,
        config: dict,  # the resolved config in plain containers; goes into every checkpoint
    ):
        super().__init__()
        self.model: Any = model  # what its class line names; nn.Module's attributes are Tensors to a type checker
        self.ema = EMA(model, decay=ema_decay) if ema_decay else None
        self.data = data
        self.optimizer = optimizer
        self.schedule = schedule
        self.batch_size = batch_size
        self.batches_per_step = batches_per_step
        self.log_every_n_steps = log_every_n_steps
        self.seed = seed
        self.config = config
        self.batches = 0  # taken from the loader since the run began
        self.stepped = False  # whether the newest batch ended in a step
        self.last_loss: float | None = None  # at the newest logged step
        self.evaluated: dict[str, float] = {}  # metrics of an evaluation after the newest batch, if there was one
        self._pending: dict[str, Tensor] = {}  # terms to be logged with the step that is under way

    # The clock and the data

    @property
    def images_seen(self) -> int:
        """Training images taken since the run began, over all processes: the x axis of everything logged."""
        return self.batches * self.batch_size

    def train_dataloader(self) -> Loader:
        return Loader(
            split=self.data.training_split(),
            transform=self.data.transform,
            batch_size=self.batch_size // self.trainer.world_size,
            batches_per_step=self.batches_per_step,
            seed=fold(self.seed, DATA_ORDER),
            rank=self.global_rank,
            world_size=self.trainer.world_size,
            device=self.device,
        )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.stepped, self.evaluated = False, {}
        torch.manual_seed(fold(self.seed, STEP_NOISE, self.batches, self.global_rank))

    # The model that is evaluated, sampled and shown

    @property
    def weights(self) -> str:
        """Which weights `evaluating` gives: "ema" where they exist, else "raw"."""
        return "raw" if self.ema is None else "ema"

    @contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """The model to evaluate, in eval mode and without gradients; training goes on as if nothing had happened."""
        model = self.model if self.ema is None else self.ema.model
        training = model.training
        try:
            with torch.no_grad():
                yield model.eval()
        finally:
            model.train(training)

    # Optimizers

    @abstractmethod
    def trained_parts(self) -> list[tuple[nn.Module, Callable[..., Optimizer]]]:
        """The parts that have an optimizer of their own, the one that counts steps first."""

    def configure_optimizers(self) -> Any:
        optimizers = [make(part.parameters()) for part, make in self.trained_parts()]
        schedule = self.schedule  # in a lambda: LambdaLR would save an object's settings and undo a change at resume
        return optimizers, [
            {"scheduler": LambdaLR(optimizer, lambda step: schedule(step)), "interval": "step"}
            for optimizer in optimizers
        ]

    def after_step(self, step: int) -> None:
        """Follows the run's `step`-th step: of the only optimizer, or of the generator's."""
        self.stepped = True
        if self.ema is not None:
            self.ema.update(self.model)
        if step % self.log_every_n_steps == 0:
            self._log_pending(step)

    # Logging

    def on_train_start(self) -> None:
        for logger in self.loggers:
            if isinstance(logger, CSVLogger):
                logger.rewind(self.global_step)

    def mean_loss(self, terms: Terms, player: str = "") -> Tensor:
        """Mean of terms["loss"], which must be finite; keeps the means of all terms for the log."""
        means = {f"{player}{name}": term.mean() for name, term in terms.items()}
        self._pending |= {name: mean.detach() for name, mean in means.items()}
        loss = means[f"{player}loss"]
        if not torch.isfinite(loss):
            self._stop_non_finite(means)
        return loss

    def _stop_non_finite(self, means: Mapping[str, Tensor]) -> None:
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        terms = ", ".join(f"{name} = {float(mean.detach()):g}" for name, mean in means.items())
        raise Fault(
            f"the loss is not finite at step {self.global_step + 1} (learning rate {rate:g}; {terms}); lower "
            "optimizer.lr or set trainer.gradient_clip_val; the last checkpoint is from before and intact"
        )

    def _log_pending(self, step: int) -> None:
        means = torch.stack([mean.float() for mean in self._pending.values()])
        if dist.is_initialized():
            dist.all_reduce(means)
            means /= dist.get_world_size()
        terms = {f"train/{name}": mean for name, mean in zip(self._pending, means.tolist(), strict=True)}
        self.last_loss = next(iter(terms.values()))
        self.record(terms | {"train/lr": self.trainer.optimizers[0].param_groups[0]["lr"]}, step)

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
        checkpoint["config"] = self.config
        checkpoint["batches"] = self.batches

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.batches = checkpoint["batches"]
