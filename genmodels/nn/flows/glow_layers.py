"""Glow's couplings, their network, and the learned prior of the channels that a split factors out (Kingma &
Dhariwal 2018, https://arxiv.org/abs/1807.03039, sections 3.3 and 3.5)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context, Sizes, widths
from genmodels.nn.flows.actnorm import ActNorm
from genmodels.nn.flows.bijections import Bijection
from genmodels.nn.flows.coupling import Coupling
from genmodels.nn.flows.elementwise import Elementwise, Shift, SigmoidAffine
from genmodels.nn.flows.partitions import Halves
from genmodels.nn.layers.zeroed import zeroed
from genmodels.nn.shapes import Maps

CouplingName = Literal["affine", "additive"]
TRANSFORMS: dict[CouplingName, type[Elementwise]] = {"affine": SigmoidAffine, "additive": Shift}


class GlowNet(nn.Module):
    """(b, c_in, h, w) and a context to (b, c_out, h, w): convolutions 3x3, 1x1, 3x3 with ReLU between; 0 at first.

    There is an ActNorm before each ReLU, as in the authors' code, and dropout before the last convolution. A context's
    vector is added before the first ActNorm.
    """

    def __init__(
        self,
        *,
        channels_in: int,
        channels_out: int,
        width: int,  # hidden features
        dropout: float,  # probability that one of them is dropped in training
        context: Sizes,  # a vector, or {}: none
    ):
        super().__init__()
        vector = widths(context, ("vector",), "Glow")["vector"]
        self.first = nn.Conv2d(channels_in, width, 3, padding=1, bias=False)
        self.vector = nn.Linear(vector, width, bias=False) if vector else None
        self.second = nn.Conv2d(width, width, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.last = zero_conv(width, channels_out)
        self.norms = nn.ModuleList(ActNorm(shape=(width, 1, 1)) for _ in range(2))

    def forward(self, x: Maps, context: Context = NO_CONTEXT) -> Float[Tensor, "b c_out h w"]:
        h = self.first(x)
        if self.vector is not None:
            h = h + self.vector(context.vector)[:, :, None, None]
        h = self.norms[0](h)[0].relu()
        h = self.norms[1](self.second(h))[0].relu()
        return self.last(self.dropout(h))


def glow_coupling(kind: CouplingName, channels: int, width: int, dropout: float, context: Sizes) -> Coupling:
    """z = (a, g(b)) with (a, b) = split(x) and the parameters of g from net(a).

    affine: g(b) = s ⊙ b + t with s = sigmoid(r + 2) + 0.001; additive: g(b) = b + t.
    """
    kept, transform = channels // 2, TRANSFORMS[kind]()
    net = GlowNet(
        channels_in=kept,
        channels_out=transform.n_params * (channels - kept),
        width=width,
        dropout=dropout,
        context=context,
    )
    return Coupling(partition=Halves(), net=net, transform=transform)


class SplitPrior(Bijection):
    """The prior N(mean(b), std(b)²) of the half a that a split factors out, as a map of a to standard normal noise.

    z = ((a - mean(b))/std(b), b), where b is the half that is kept. One convolution of b, 0 at first, gives mean and r;
    log std is scale · tanh(r) with a learned scale for each channel, as in RealNVP's couplings, and so bounded.
    """

    def __init__(
        self,
        *,
        channels: int,  # c, even
    ):
        super().__init__()
        self.net = zero_conv(channels // 2, channels)
        self.scale = nn.Parameter(torch.ones(channels // 2, 1, 1))

    def forward(self, x: Maps, context: Context = NO_CONTEXT) -> tuple[Maps, PerSample]:
        a, b = halves(x)
        mean, log_std = self.mean_and_log_std(b)
        return torch.cat([(a - mean) * (-log_std).exp(), b], dim=1), -log_std.flatten(1).sum(1)

    def inverse(self, z: Maps, context: Context = NO_CONTEXT) -> Maps:
        a, b = halves(z)
        mean, log_std = self.mean_and_log_std(b)
        return torch.cat([a * log_std.exp() + mean, b], dim=1)

    def mean_and_log_std(self, b: Maps) -> tuple[Maps, Maps]:
        mean, r = self.net(b).to(b.dtype).chunk(2, dim=1)
        return mean, self.scale * r.tanh()


def halves(x: Maps) -> tuple[Tensor, Tensor]:
    """The first half of the channels and the rest."""
    return x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]


def zero_conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 3x3 convolution that starts at 0."""
    return zeroed(nn.Conv2d(channels_in, channels_out, 3, padding=1))
