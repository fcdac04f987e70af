"""Communication between processes for evaluators; with one process each function is the identity."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch.distributed as dist
from jaxtyping import Float64
from torch import Tensor

from genmodels.errors import UserError

Value = TypeVar("Value")


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def shards(n: int, size: int) -> Iterator[range]:
    """This process's part of 0..n-1 in chunks of `size`; the last of all may be smaller: nothing is padded."""
    rank, world = rank_and_world()
    for start in range(rank * size, n, world * size):
        yield range(start, min(start + size, n))


def total(x: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """The sum of every process's `x`, in float64."""
    if rank_and_world()[1] > 1:
        x = x.clone()
        dist.all_reduce(x)
    return x


def from_rank_zero(make: Callable[[], Value]) -> Value:
    """The result of `make` on rank 0, or its UserError there, on every process."""
    rank, world = rank_and_world()
    box: list[Any] = [None, None]  # result, error
    if rank == 0:
        try:
            box[0] = make()
        except UserError as error:
            box[1] = error
    if world > 1:
        dist.broadcast_object_list(box, src=0)
    if box[1] is not None:
        raise box[1]
    return box[0]


def from_all(x: Value) -> list[Value]:
    """Every process's `x`, in the order of their ranks."""
    _, world = rank_and_world()
    box = [x] * world
    if world > 1:
        dist.all_gather_object(box, x)
    return box
