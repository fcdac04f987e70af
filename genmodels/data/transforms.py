"""Random transforms of training batches: pure functions of a batch and a generator on its device."""

import torch
from jaxtyping import UInt8
from torch import Tensor


def random_flip(x: UInt8[Tensor, "b c h w"], generator: torch.Generator) -> UInt8[Tensor, "b c h w"]:
    """Mirrors each image left to right with probability 1/2."""
    flipped = torch.randint(2, (len(x), 1, 1, 1), generator=generator, device=x.device).bool()
    return torch.where(flipped, x.flip(-1), x)


def bernoulli(x: UInt8[Tensor, "*shape"], generator: torch.Generator) -> UInt8[Tensor, "*shape"]:
    """Bernoulli(x/255) of grey values 0..255: [u < x], u uniform on the integers 0..254."""
    u = torch.randint(255, x.shape, generator=generator, device=x.device, dtype=torch.uint8)
    return (u < x).to(torch.uint8)
