"""Gathers the parts of a global batch from all processes, in the order of a single process."""

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor

from genmodels.trees import Tree, over


def processes() -> tuple[int, int]:
    """The rank of this process and the number of processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def in_global_order(x: Shaped[Tensor, " b *shape"]) -> Shaped[Tensor, " all_b *shape"]:
    """The samples of all processes, each of which has every world-th one; without gradients. All must call it.

    They are sent as bytes, since not every backend supports every type.
    """
    _, world = processes()
    if world == 1:
        return x
    x = x.detach().contiguous()
    mine = x.flatten().view(torch.uint8)
    parts = [torch.empty_like(mine) for _ in range(world)]
    dist.all_gather(parts, mine)
    return torch.stack([part.view(x.dtype).view(x.shape) for part in parts], dim=1).flatten(0, 1)


def global_batch(batch: Tree) -> Tree:
    """Every tensor of a batch `in_global_order`."""
    return over(batch, in_global_order)


def share_of_this_process(x: Shaped[Tensor, " all_b *shape"]) -> Shaped[Tensor, " b *shape"]:
    """This process's part of a batch that `in_global_order` returned."""
    rank, world = processes()
    return x[rank::world]
