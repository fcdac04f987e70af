"""Weights, gradients and optimizer state sharded over the processes (Zhao et al. 2023,
https://arxiv.org/abs/2304.11277), by torch's `fully_shard`, for networks that do not fit on one GPU.

The weights of a block, an element of one of the network's ModuleLists, are gathered while it computes and freed after.
"""

from collections.abc import Iterable

import torch
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor


class FullySharded(ModelParallelStrategy):
    """Lightning's strategy over all processes; its checkpoints are ordinary files, as in other trainings."""

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shards the weights of `model` in place; its `loss` gathers them for as long as it needs them."""
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
    blocks = [block for part in lists for block in part if not isinstance(block, nn.ModuleList)]
    for block in reversed(blocks):  # the inner ones first
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "loss")


def is_sharded(model: nn.Module) -> bool:
    """Whether its weights are sharded."""
    return isinstance(model, FSDPModule)


def gather_weights(model: nn.Module, into: nn.Module, device: torch.device) -> nn.Module:
    """Loads the gathered weights of `model` into `into`, an unsharded copy, on `device`; all processes must call it."""
    into.load_state_dict(get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)))
    return into.to(device)


def whole(x: Tensor) -> Tensor:
    """The full tensor of one that may be sharded, such as the norm of sharded gradients."""
    return x.full_tensor() if isinstance(x, DTensor) else x


def local(x: Tensor) -> Tensor:
    """The shard of this process of a tensor that may be sharded."""
    return x.to_local() if isinstance(x, DTensor) else x


def pieces(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The non-empty local shards of tensors that may be sharded."""
    return [shard for shard in map(local, tensors) if shard.numel()]
