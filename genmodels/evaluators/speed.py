"""How fast a model draws samples, by the clock; unlike all other results it differs from one time to the next.

A batch goes ahead and is not counted: it compiles and allocates what the others find. Several processes begin together
and share the samples; the time is that of the last one to end, so that the result is what all give together.
"""

from time import perf_counter
from typing import ClassVar, cast

import torch
from torch import nn

from genmodels.capabilities import Samples
from genmodels.errors import UserError
from genmodels.evaluators.base import DataMetric, Mode
from genmodels.evaluators.dataset import Data
from genmodels.evaluators.distributed import from_all, shards
from genmodels.evaluators.evaluate import drawn_by
from genmodels.evaluators.results import Progress, Record
from genmodels.evaluators.shown import NOTHING, Show
from genmodels.machine import hardware
from genmodels.seeds import seeded


class Speed(DataMetric):
    """Samples per second over `n` samples, in data units on the device, drawn `batch` at a time."""

    requires: ClassVar[type] = Samples
    mode: ClassVar[Mode] = "max"

    def __init__(
        self,
        *,
        n: int,  # samples that are timed, over all processes
        batch: int,  # drawn at once by a process
    ):
        if min(n, batch) < 1:
            raise UserError(f"the speed got n={n} and batch={batch}, expected at least 1 of each: raise them")
        self.n = n
        self.batch = batch

    def primary(self, features: str, levels: int | None) -> str:
        return "samples_per_second"

    def measure(
        self,
        model: nn.Module,
        data: Data,
        split: str,
        *,
        seed: int,
        device: torch.device,
        progress: Progress,
        show: Show = NOTHING,
    ) -> list[Record]:
        """samples_per_second, with the machine and the way of drawing in its protocol."""
        protocol = {
            "n_generated": self.n,
            "batch": min(self.batch, self.n),
            "device": device.type,
            "hardware": hardware(),
            "threads": torch.get_num_threads(),
            **drawn_by(model),
        }
        seconds = max(from_all(self.seconds(cast(Samples, model), seed, device, progress)))
        value = self.n / seconds
        return [Record(metric="samples_per_second", split=split, value=value, std=None, protocol=protocol)]

    @torch.no_grad()
    def seconds(self, model: Samples, seed: int, device: torch.device, progress: Progress) -> float:
        """The time that this process's part of the samples takes."""
        with seeded(seed):
            model.sample(min(self.batch, self.n))
            wait_for(device)
            from_all(None)  # all begin together
            began = perf_counter()
            for part in shards(self.n, self.batch):
                model.sample(len(part))
                wait_for(device)
                progress("speed", part.stop, self.n)
            return perf_counter() - began


def wait_for(device: torch.device) -> None:
    """Returns once the device has done what it was given; the CPU does it at once."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
