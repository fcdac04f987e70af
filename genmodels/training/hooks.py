"""What a training does to a model beside its steps: initial values from data, and preparation for an evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn

from genmodels.capabilities import Batch, Condition, Initialises, Prepares, can
from genmodels.data.base import Data
from genmodels.data.loader import Loader
from genmodels.gathering import global_batch, processes
from genmodels.seeds import seeded
from genmodels.trees import count

FIRST_BATCH, PREPARATION = 3, 4  # streams of random numbers: what comes second in fold(seed, ...)


def initialisers(model: nn.Module) -> list[Initialises]:
    """The model and those of its sub-modules that begin at data; a part comes before what it is a part of."""
    return [
        part for part in reversed(list(model.modules())) if isinstance(part, Initialises) and can(part, Initialises)
    ]


@torch.no_grad()
def initialise(model: nn.Module, batch: tuple[Batch, Condition], seed: int) -> None:
    """Lets the model and its parts set weights from the first batch of all processes; they are the same everywhere."""
    together = global_batch(batch)
    for part in initialisers(model):
        with seeded(seed, FIRST_BATCH):
            part.initialise(*together)
    if processes()[1] > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.data, 0)


@torch.no_grad()
def prepare(model: nn.Module, data: Data, device: torch.device) -> None:
    """Lets a model in eval mode prepare for an evaluation, if it does so; always with the same batches."""
    if can(model, Prepares):
        assert isinstance(model, Prepares)
        with seeded(0, PREPARATION):
            model.before_evaluation(_batches(data, device))


@contextmanager
def with_statistics(model: nn.Module, data: Data, device: torch.device) -> Iterator[None]:
    """The same for the duration of the block; then its buffers are again what they were."""
    if not can(model, Prepares):
        yield
        return
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        prepare(model, data, device)
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


def _batches(data: Data, device: torch.device) -> Iterator[tuple[Batch, Condition]]:
    """Training batches in an order that never changes, over and over."""
    split = data.training_split()
    loader = Loader(
        split=split,
        visit=data.visit,
        batch_size=min(data.batch_size, count(split.x)),
        batches_per_step=1,
        seed=0,
        rank=0,
        world_size=1,
        device=device,
    )
    while True:
        yield from loader
