"""Checkpoints that are whole or not there: written to a temporary name, flushed to the disk, renamed."""

import operator
import os
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.exceptions import SIGTERMException

from genmodels.errors import UserError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, never half-written: the earlier one stays until the new one is whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


class LastCheckpoint(Checkpoint):
    """Writes last.ckpt every so many steps, at the last one, and when the process is asked to end."""

    def __init__(self, *, dirpath: str, every_n_train_steps: int):
        self.path = Path(dirpath) / "last.ckpt"
        self.every_n_train_steps = every_n_train_steps

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        if pl_module.stepped and (step % self.every_n_train_steps == 0 or step == trainer.max_steps):
            trainer.save_checkpoint(self.path)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        if isinstance(exception, SIGTERMException) and pl_module.stepped:
            trainer.save_checkpoint(self.path)


class BestCheckpoint(Checkpoint):
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
        if self.monitor not in pl_module.evaluated:
            known = ", ".join(pl_module.evaluated)
            raise UserError(f"callbacks.best.monitor={self.monitor} is not evaluated; choose one of {known}")
        value = pl_module.evaluated[self.monitor]
        if self.best is None or self.better(value, self.best):
            self.best = value
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
