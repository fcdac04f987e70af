"""Invertible 1x1 convolution (Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039, section 3.2, equation 10): an
invertible linear map where samples are points."""

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Bijection, Reals

Square = Float[Tensor, "c c"]


class InvertibleConv(Bijection):
    """z = W x at every place, with W = P L (U + diag(s)), (c, c), a random rotation at first; ladj = h w Σ log|s|,
    with h w = 1 for points.

    The permutation P and the signs of s are fixed. L (ones on its diagonal), U (zeros there) and log|s| are learned.
    """

    order: Tensor  # P as indices of rows of L (U + diag(s))
    sign: Tensor

    def __init__(
        self,
        *,
        shape: Sequence[int],  # (c, h, w) or (d,)
    ):
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(shape[0], shape[0]).double()).Q
        permutation, lower, upper = torch.linalg.lu(rotation)
        s = upper.diag()
        self.register_buffer("order", permutation.argmax(1))
        self.register_buffer("sign", s.sign().float())
        self.lower = nn.Parameter(lower.tril(-1).float())
        self.upper = nn.Parameter(upper.triu(1).float())
        self.log_s = nn.Parameter(s.abs().log().float())

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        with torch.autocast(x.device.type, enabled=False):
            lower, upper = self.triangles()
            z = at_every_place((lower @ upper)[self.order], x)
        return z, (prod(x.shape[2:]) * self.log_s.sum()).expand(len(x))

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        with torch.autocast(z.device.type, enabled=False):
            lower, upper = (torch.linalg.inv(triangle.double()) for triangle in self.triangles())
            return at_every_place((upper @ lower)[:, self.order].to(z.dtype), z)

    def triangles(self) -> tuple[Square, Square]:
        """L and U + diag(s)."""
        ones = torch.ones_like(self.log_s).diag()
        return self.lower.tril(-1) + ones, self.upper.triu(1) + (self.sign * self.log_s.exp()).diag()


def at_every_place(w: Square, x: Reals) -> Reals:
    """W times the vector of channels at each place of x."""
    return (w @ x.reshape(*x.shape[:2], -1)).view_as(x)
