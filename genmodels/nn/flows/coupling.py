"""Affine coupling (Dinh, Sohl-Dickstein & Bengio 2017, https://arxiv.org/abs/1605.08803, sections 3.2 to 3.4)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Bijection, Reals

Mask = Float[Tensor, "*shape"]  # 1: stays unchanged and is the network's input; 0: is changed


def checkerboard_mask(shape: Sequence[int], parity: int) -> Mask:
    """1 where (row + column + parity) is odd; for points (d,), where (coordinate + parity) is odd."""
    place = sum(torch.meshgrid(*(torch.arange(n) for n in shape[-2:]), indexing="ij"), start=torch.tensor(parity))
    return (place % 2).float().expand(*shape).clone()


def channel_mask(shape: Sequence[int], parity: int) -> Mask:
    """1 on the first half of the channels (parity 0) or the second half (parity 1)."""
    first = torch.arange(shape[0]) < shape[0] // 2
    half = first if parity == 0 else ~first
    return half.float().view(-1, *[1] * (len(shape) - 1)).expand(*shape).clone()


class AffineCoupling(Bijection):
    """z = b ⊙ x + (1 - b) ⊙ (x ⊙ exp(s(b ⊙ x)) + t(b ⊙ x)), equation 9; ladj = sum of (1 - b) ⊙ s.

    s = scale · tanh(·) with a learned scale for each channel, so that exp(s) is bounded.
    """

    b: Tensor

    def __init__(
        self,
        *,
        mask: Tensor,  # b, in the shape of a sample
        net: nn.Module,  # (b, c, ...), context -> (b, 2c, ...): s before the tanh, and t
    ):
        super().__init__()
        self.register_buffer("b", mask, persistent=False)
        self.scale = nn.Parameter(torch.ones(len(mask), *[1] * (mask.ndim - 1)))
        self.net = net

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        s, t = self.log_scale_and_shift(x, context)
        return x * s.exp() + t, s.flatten(1).sum(1)

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        s, t = self.log_scale_and_shift(z, context)
        return (z - t) * (-s).exp()

    def log_scale_and_shift(self, x: Reals, context: Context) -> tuple[Reals, Reals]:
        """(1 - b) ⊙ s and (1 - b) ⊙ t, functions of b ⊙ x alone, in the precision of x."""
        s, t = self.net(self.b * x, context).to(x.dtype).chunk(2, dim=1)
        return (1 - self.b) * self.scale * s.tanh(), (1 - self.b) * t


class ChannelAffine(Bijection):
    """z = x ⊙ exp(log_scale) + shift, learned for each channel; initially the identity.

    It replaces the paper's batch normalization (section 3.7). With batch statistics the trained model is not a
    density of single samples: a sample's likelihood would depend on the rest of its batch and would differ
    between training and evaluation. Here it is exact for every sample.
    """

    def __init__(
        self,
        *,
        shape: Sequence[int],  # of a sample: (c, h, w) or (d,)
    ):
        super().__init__()
        parameters = (shape[0], *[1] * (len(shape) - 1))
        self.log_scale = nn.Parameter(torch.zeros(parameters))
        self.shift = nn.Parameter(torch.zeros(parameters))

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        return x * self.log_scale.exp() + self.shift, self.log_scale.expand_as(x).flatten(1).sum(1)

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        return (z - self.shift) * (-self.log_scale).exp()
