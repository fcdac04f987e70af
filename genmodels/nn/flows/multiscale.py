"""Squeeze and split, which make a flow multi-scale (Dinh et al. 2017, https://arxiv.org/abs/1605.08803, section 3.6).

Both wrap an inner bijection and return the shape of their input, so that a flow's noise is one tensor of the
image's shape, and a multi-scale flow composes like any other. At a split, half of the channels is factored
out: it is final noise, and the base density scores it together with the rest.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Bijection
from genmodels.nn.shapes import Maps


def squeeze(x: Maps) -> Float[Tensor, "b 4*c h/2 w/2"]:
    """Space to depth: each 2x2 square becomes four groups of c channels, upper row before lower row."""
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(b, 4 * c, h // 2, w // 2)


def unsqueeze(z: Maps) -> Float[Tensor, "b c/4 2*h 2*w"]:
    """Depth to space: the inverse of `squeeze`."""
    b, c, h, w = z.shape
    return z.view(b, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2).reshape(b, c // 4, 2 * h, 2 * w)


class Squeezed(Bijection):
    """`inner` at half the resolution: unsqueeze ∘ inner ∘ squeeze."""

    def __init__(
        self,
        *,
        inner: Bijection,  # on (4c, h/2, w/2)
    ):
        super().__init__()
        self.inner = inner

    def forward(self, x: Maps, context: Context = NO_CONTEXT) -> tuple[Maps, PerSample]:
        z, ladj = self.inner(squeeze(x), context)
        return unsqueeze(z), ladj

    def inverse(self, z: Maps, context: Context = NO_CONTEXT) -> Maps:
        return unsqueeze(self.inner.inverse(squeeze(z), context))


class Split(Bijection):
    """Factors out the first half of the channels as noise; `inner` transforms the second half."""

    def __init__(
        self,
        *,
        inner: Bijection,  # on (c/2, h, w)
    ):
        super().__init__()
        self.inner = inner

    def forward(self, x: Maps, context: Context = NO_CONTEXT) -> tuple[Maps, PerSample]:
        leaving, staying = x.chunk(2, dim=1)
        z, ladj = self.inner(staying, context)
        return torch.cat([leaving, z], dim=1), ladj

    def inverse(self, z: Maps, context: Context = NO_CONTEXT) -> Maps:
        leaving, z = z.chunk(2, dim=1)
        return torch.cat([leaving, self.inner.inverse(z, context)], dim=1)
