"""Speed of sampling in samples per second of wall time; unlike all other results it varies from run to run.

A first batch is not counted: it compiles and allocates. Several processes start together and share the samples; the
time is that of the slowest process, so that the result is the throughput of all together.
"""

from time import perf_counter
from typing import ClassVar, cast

import torch

from genmodels.capabilities import Samples, why_not
from genmodels.errors import UserError
from genmodels.evaluators.base import Evaluator
from genmodels.evaluators.conditions import Conditions
from genmodels.evaluators.distributed import from_all, shards
from genmodels.evaluators.results import Mode, Record
from genmodels.evaluators.subject import Procedure, Subject
from genmodels.machine import hardware
from genmodels.ranges import PositiveInt
from genmodels.seeds import seeded


class Speed(Evaluator):
    """Samples per second over `n` samples, in data units on the device, in batches of `batch`."""

    mode: ClassVar[Mode] = "max"

    def __init__(
        self,
        *,
        n: PositiveInt,  # timed samples, over all processes
        batch: PositiveInt,  # samples that a process draws at once
    ):
        if min(n, batch) < 1:
            raise UserError(f"the speed got n={n} and batch={batch}, expected at least 1 of each: raise them")
        self.n = n
        self.batch = batch

    def needs(self, subject: Subject) -> str | None:
        return why_not(subject.model, Samples)

    def metrics(self, subject: Subject, features: str) -> list[str]:
        return ["samples_per_second"]

    def measure(self, subject: Subject, how: Procedure) -> list[Record]:
        """samples_per_second, with the machine and the sampler in its protocol."""
        model = cast(Samples, subject.model)
        conditions = Conditions(subject.model, subject.data, subject.split)
        protocol = {
            "n_generated": self.n,
            "batch": min(self.batch, self.n),
            "device": how.device.type,
            "hardware": hardware(),
            "threads": torch.get_num_threads(),
            **model.sampling_protocol(),
            **conditions.protocol(),
        }
        seconds = max(from_all(self.seconds(model, conditions, how)))
        value = self.n / seconds
        return [Record(metric="samples_per_second", split=subject.split, value=value, std=None, protocol=protocol)]

    @torch.no_grad()
    def seconds(self, model: Samples, conditions: Conditions, how: Procedure) -> float:
        """Seconds for this process's part of the samples; conditions are moved to the device before."""
        ahead = range(min(self.batch, self.n))
        parts = [(part, conditions.of(part, how.device)) for part in shards(self.n, self.batch)]
        with seeded(how.seed):
            model.sample(len(ahead), conditions.of(ahead, how.device))
            wait_for(how.device)
            how.progress("speed", 0, self.n)
            from_all(None)  # all processes start together
            began = perf_counter()
            for part, condition in parts:
                model.sample(len(part), condition)
                wait_for(how.device)
                how.progress("speed", part.stop, self.n)
            return perf_counter() - began


def wait_for(device: torch.device) -> None:
    """Waits until the device has finished its work; the CPU never has any left."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)
