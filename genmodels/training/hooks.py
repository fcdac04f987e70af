"""Changes to a model outside training steps: data-dependent initialisation, and preparation for an evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count as numbers

import torch
import torch.distributed as dist
from torch import nn

from genmodels.capabilities import Batch, Condition, Initialises, Prepares, can
from genmodels.data.base import Data
from genmodels.data.loader import Loader
from genmodels.gathering import global_batch, processes
from genmodels.seeds import seeded
from genmodels.trees import count

FIRST_BATCH, PREPARATION = 3, 4  # streams of random numbers: the second argument of fold(seed, ...)


def initialisers(model: nn.Module) -> list[Initialises]:
    """The model and its sub-modules with data-dependent initialisation; sub-modules come before their parents."""
    return [
        part for part in reversed(list(model.modules())) if isinstance(part, Initialises) and can(part, Initialises)
    ]


@torch.no_grad()
def initialise(model: nn.Module, batch: tuple[Batch, Condition], seed: int) -> None:
    """Lets the model and its parts set weights from the first global batch; all processes get the same weights."""
    together = global_batch(batch)
    for part in initialisers(model):
        with seeded(seed, FIRST_BATCH):
            part.initialise(*together)
    if processes()[1] > 1:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.data, 0)


@torch.no_grad()
def prepare_model(model: nn.Module, data: Data, device: torch.device) -> None:
    """Lets a model in eval mode prepare for an evaluation, if it can; always with the same batches."""
    if can(model, Prepares):
        assert isinstance(model, Prepares)
        with seeded(0, PREPARATION):
            model.before_evaluation(_batches(data, device))


@contextmanager
def with_statistics(model: nn.Module, data: Data, device: torch.device) -> Iterator[None]:
    """Prepares the model as `prepare` does for the block, and restores its buffers after it."""
    if not can(model, Prepares):
        yield
        return
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        prepare_model(model, data, device)
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


def _batches(data: Data, device: torch.device) -> Iterator[tuple[Batch, Condition]]:
    """Training batches in a fixed order, without end."""
    split = data.training_split()
    loader = Loader(
        split=split,
        visit=data.visit,
        batch_size=min(data.batch_size, count(split.x)),
        seed=0,
        rank=0,
        world_size=1,
        device=device,
    )
    yield from map(loader.batch, numbers())
