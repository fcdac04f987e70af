"""The little that evaluators need of many processes; with one process each of these is the identity."""

from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist
from jaxtyping import Float64
from torch import Tensor

T = TypeVar("T")


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def total(x: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """The sum of every process's `x`, in float64."""
    if rank_and_world()[1] > 1:
        x = x.clone()
        dist.all_reduce(x)
    return x


def from_rank_zero(make: Callable[[], T]) -> T:
    """What `make` returns on rank 0, handed to every process; the others wait for it."""
    rank, world = rank_and_world()
    box = [make() if rank == 0 else None]
    if world > 1:
        dist.broadcast_object_list(box, src=0)
    return box[0]  # type: ignore[return-value]
