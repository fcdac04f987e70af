"""Ends a training on a signal: SIGTERM, Ctrl-C, and the signal that SLURM sends before a job's time is up.

The current step is finished and saved; an evaluation or a picture is interrupted at once, and made on resume. A second
Ctrl-C ends the training wherever it is. Lightning's own handlers, which these replace, save in the middle of a step.
"""

import os
import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from lightning_fabric.plugins.environments import SLURMEnvironment
from pytorch_lightning import Trainer

from genmodels.errors import Stopped
from genmodels.training.pace import Periodic

SLURMS = signal.SIGUSR1  # as in `sbatch --signal=USR1@120`: the job will be requeued


class Stopping(Periodic):
    """Raises Stopped where a training can end; must be the first callback, so that no slow callback delays it."""

    def __init__(self, run_dir: str):
        self.command = f"genmodels train resume={shlex.quote(run_dir)}"
        self.asked = 0  # the received signal; 0: none
        self.training: Any = None  # set while steps are taken

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the signals in the block; does nothing outside the main thread, which gets no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _signals()}
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in _signals():
                signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = bool(self.asked) and number == signal.SIGINT, self.asked or number
        if again:
            raise self._stopped(together=False)
        if self.training is None:
            raise self._stopped(together=False)
        if self.training.is_evaluating:
            self.training.cut_short = True
            raise self._stopped(together=self.training.trainer.world_size == 1)
        if number == signal.SIGINT and self.training.global_rank == 0:  # not print, which may itself be interrupted
            os.write(2, b"genmodels: the run is saved after this step; Ctrl-C again ends it at once\n")

    def _stopped(self, *, together: bool) -> Stopped:
        how = {int(signal.SIGINT): "interrupted", int(SLURMS): "ended to be queued again"}.get(self.asked, "terminated")
        return Stopped(self.asked, f"{how}; continue with: {self.command}", together=together)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._listen()  # Lightning has replaced our handlers
        self.training = pl_module

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if number := self._agreed(trainer):
            self.asked, pl_module.cut_short = number, True
            raise self._stopped(together=True)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.training = None

    def _agreed(self, trainer: Trainer) -> int:
        """The signal that any process of the run has received; all processes agree on it at the same step."""
        if trainer.world_size == 1:
            return self.asked
        asked = torch.tensor(self.asked, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(asked, reduce_op="max"))


def _signals() -> list[int]:
    """The handled signals; SLURM's only in a SLURM job."""
    return [signal.SIGINT, signal.SIGTERM, *([SLURMS] if SLURMEnvironment.detect() else [])]
