"""Checkpoints of a run: the last one, to resume from, and the best one."""

import operator
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Checkpoint

from genmodels.disk.atomic import replacing
from genmodels.errors import Stopped, UserError
from genmodels.ranges import PositiveInt
from genmodels.training.pace import Periodic


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, never half-written: the earlier one stays until the new one is whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with replacing(Path(path)) as file:
            torch.save(checkpoint, file)


class LastCheckpoint(Periodic, Checkpoint):
    """Writes last.ckpt every few steps, at the last step, and when a signal ends the process."""

    def __init__(
        self,
        *,
        dirpath: str,  # where it is written
        every_n_train_steps: PositiveInt,  # steps between two checkpoints
    ):
        self.path = Path(dirpath) / "last.ckpt"
        self.every_n_steps = every_n_train_steps
        self.saved: int | None = None  # step that the file is of, once there are steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every_n_steps == 0 or step == trainer.max_steps:
            self.save(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.saved = trainer.global_step

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Saves where a signal ends the run between two steps."""
        together = isinstance(exception, Stopped) and exception.together
        if together and self.saved is not None and trainer.global_step != self.saved:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()  # the curve up to this step is on the disk before the checkpoint that continues it
        trainer.save_checkpoint(self.path)
        self.saved = trainer.global_step


class BeforeTheEnd(Periodic):
    """Saves the last step before what follows it, such as an evaluation; a resume makes the evaluation if
    the run is killed in it; `last` saves again after that."""

    def __init__(self, last: LastCheckpoint):
        self.last = last

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == trainer.max_steps:
            pl_module.cut_short = True
            self.last.save(trainer)
            pl_module.cut_short = False


class BestCheckpoint(Periodic, Checkpoint):
    """Writes best.ckpt whenever the followed metric is better than it has ever been in this run."""

    def __init__(
        self,
        *,
        dirpath: str,
        monitor: str | None,  # a logged name, such as "val/bits_per_dim"; None in a config: the first that there is
        mode: Literal["min", "max"] | None,  # which is better; None beside a monitor that is None
    ):
        if monitor is None or mode is None:
            raise UserError("callbacks.best needs both monitor and mode (min or max), or neither; give the other one")
        self.path = Path(dirpath) / "best.ckpt"
        self.monitor = monitor
        self.better = {"min": operator.lt, "max": operator.gt}[mode]
        self.best: float | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if not pl_module.evaluated:
            return
        if self.monitor not in pl_module.evaluated:  # what a person's own evaluator does not give, though it says so
            known = ", ".join(pl_module.evaluated)
            raise UserError(f"callbacks.best.monitor={self.monitor} is not evaluated; choose one of {known}")
        value = pl_module.evaluated[self.monitor]
        if self.best is None or self.better(value, self.best):
            self.best = value
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"monitor": self.monitor, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues with the best score so far, unless the followed metric has changed."""
        self.best = state_dict["best"] if state_dict["monitor"] == self.monitor else None
