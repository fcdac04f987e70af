"""Batch normalization over the global batch (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167).

torch's SyncBatchNorm does the same but only on GPUs. Its BatchNorm2d normalizes each process's part of the batch
separately, so that a model would depend on how many processes train it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.nn.shapes import Maps

Moments = tuple[Float[Tensor, " c"], Float[Tensor, " c"]]


class BatchNorm2d(nn.BatchNorm2d):
    """torch's own in eval mode and in a single process; several processes train with the statistics of all images.

    Every process must call it with a batch of the same shape. Statistics are at least float32, even under autocast.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float
    alone: bool = False  # whether it uses only the images of this process

    def forward(self, x: Maps) -> Maps:
        together = self.training and not self.alone and several_processes()
        return self.normalized(x) if together else super().forward(x)

    def normalized(self, x: Maps) -> Maps:
        """`x` normalized by mean and biased variance over all processes, which also update the running moments."""
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, var = global_moments(values)
        self.move_running(mean.detach(), var.detach(), n=dist.get_world_size() * x.numel() // x.shape[1])
        scale = self.weight * (var + self.eps).rsqrt()
        return ((values - per_channel(mean)) * per_channel(scale) + per_channel(self.bias)).to(x.dtype)

    @torch.no_grad()
    def move_running(self, mean: Float[Tensor, " c"], var: Float[Tensor, " c"], n: int) -> None:
        """Moves the running moments towards those of a batch with `n` values per channel."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_((var * (n / (n - 1))).to(self.running_var), self.momentum)


@contextmanager
def standing_statistics(module: nn.Module) -> Iterator[None]:
    """Sets the running statistics in `module` to the mean over the batches that pass through it in the block.

    Other processes need not take part. Afterwards `module` is in eval mode.
    """
    norms = [part for part in module.modules() if isinstance(part, BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.alone, norm.momentum = True, None  # type: ignore[assignment]  # None: torch's cumulative mean
    module.train()
    try:
        yield
    finally:
        module.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.alone, norm.momentum = False, momentum


def moments(x: Float[Tensor, "b c *places"]) -> Moments:
    """Mean and biased variance of each channel over the samples of this process and all places."""
    var, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    return mean, var


@torch.compiler.disable  # collectives within an autograd function cannot be traced
def global_moments(x: Float[Tensor, "b c *places"]) -> Moments:
    """The same over the samples of all processes, with gradients to all of them."""
    means, variances = Gathered.apply(torch.stack(moments(x))).unbind(1)  # (processes, c) each
    return means.mean(0), variances.mean(0) + means.var(0, correction=0)


def several_processes() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class Gathered(torch.autograd.Function):
    """Every process's tensor, stacked in the order of their ranks; the gradient comes back from every process."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]


def per_channel(v: Float[Tensor, " c"]) -> Float[Tensor, "c 1 1"]:
    """One number per channel, shaped to broadcast over images."""
    return v[:, None, None]
