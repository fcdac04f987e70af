"""Planar and radial maps (Rezende & Mohamed 2015, https://arxiv.org/abs/1505.05770, section 4.1 and appendix A)."""

from collections.abc import Sequence
from math import e, log

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context, Sizes, widths
from genmodels.fields import coordinates
from genmodels.nn.flows.bijections import Bijection, Chain
from genmodels.ranges import PositiveInt

IDENTITY = log(e - 1)  # of wᵀu: then û is 0

Points = Float[Tensor, "b d"]
Vectors = Float[Tensor, "... d"]
PerVector = Float[Tensor, "..."]


class PlanarMap(Bijection):
    """z = x + û tanh(wᵀx + b) with learned u, w and b (equation 10); without a closed inverse, the identity
    at first."""

    invertible = False

    def __init__(
        self,
        *,
        d: PositiveInt,
    ):
        super().__init__()
        w = normalize(torch.randn(d), dim=0)
        self.u, self.w = nn.Parameter(IDENTITY * w), nn.Parameter(w)
        self.b = nn.Parameter(torch.randn(()))

    def forward(self, x: Points, context: Context = NO_CONTEXT) -> tuple[Points, PerSample]:
        return planar(x, self.u, self.w, self.b)


class RadialMap(Bijection):
    """z = x + beta h (x - x_0) with h = 1/(alpha + r) and r = |x - x_0| (equation 14), learned alpha > 0, beta and x_0;
    ladj = (d - 1) log(1 + beta h) + log(1 + beta alpha h²). beta = -alpha + softplus(·) is above -alpha, which
    makes it invertible (appendix A.2); it has no closed inverse where d > 1.
    """

    invertible = False

    def __init__(
        self,
        *,
        d: PositiveInt,
    ):
        super().__init__()
        self.x_0 = nn.Parameter(torch.randn(d))
        self.alpha, self.beta = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))  # before their softplus

    def forward(self, x: Points, context: Context = NO_CONTEXT) -> tuple[Points, PerSample]:
        alpha = softplus(self.alpha)
        beta = softplus(self.beta) - alpha
        away = x - self.x_0
        r = torch.linalg.vector_norm(away, dim=1)
        h = 1 / (alpha + r)
        ladj = (x.shape[1] - 1) * (beta * h).log1p() + (beta * alpha * h.square()).log1p()
        return x + (beta * h)[:, None] * away, ladj


class PlanarFlow(Chain):
    """Planar maps one after the other."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (d,) of a point
        layers: PositiveInt,  # K in the paper
        context: Sizes,  # {}: it takes no condition
    ):
        widths(context, (), "a planar flow")
        d = coordinates(shape, "a planar flow")
        super().__init__(PlanarMap(d=d) for _ in range(layers))


class RadialFlow(Chain):
    """Radial maps one after the other."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (d,) of a point
        layers: PositiveInt,  # K in the paper
        context: Sizes,  # {}: it takes no condition
    ):
        widths(context, (), "a radial flow")
        d = coordinates(shape, "a radial flow")
        super().__init__(RadialMap(d=d) for _ in range(layers))


def planar(x: Vectors, u: Vectors, w: Vectors, b: PerVector) -> tuple[Vectors, PerVector]:
    """x + û tanh(wᵀx + b) and its ladj, log(1 + (1 - tanh²) wᵀû) (equations 10 to 12)."""
    u, wu = invertible(u, w)
    h = torch.tanh((x * w).sum(-1) + b)
    return x + u * h[..., None], torch.log1p((1 - h.square()) * wu)


def invertible(u: Vectors, w: Vectors) -> tuple[Vectors, PerVector]:
    """û = u + (m(wᵀu) - wᵀu) w/|w|² with m(t) = softplus(t) - 1, and wᵀû, which is above -1 (appendix A.1)."""
    wu, squared = (w * u).sum(-1), w.square().sum(-1).clamp(min=1e-12)
    u = u + ((softplus(wu) - 1 - wu) / squared)[..., None] * w
    return u, (w * u).sum(-1)
