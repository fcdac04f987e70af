"""Monotonic rational-quadratic splines (Durkan et al. 2019, https://arxiv.org/abs/1906.04032, section 3.1)."""

from math import expm1, log
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad, softplus

from genmodels.errors import UserError
from genmodels.nn.flows.elementwise import Elementwise, Numbers, Parameters
from genmodels.ranges import PositiveFloat, TwoOrMore

SMALLEST = 1e-3  # least width and height of a bin as a part of all bins, and least derivative at a knot
MOST_BINS = 500  # together their least widths are half of the interval
ONE = log(expm1(1 - SMALLEST))  # softplus(ONE) + SMALLEST is 1

Edges = Float[Tensor, "b *numbers bins_and_one"]


class Bin(NamedTuple):
    """For each number the bin k that it is in: the knots (x_k, y_k), and what is between them."""

    x: Numbers
    y: Numbers
    width: Numbers  # x_{k+1} - x_k
    height: Numbers  # y_{k+1} - y_k
    left: Numbers  # delta_k, the derivative at the left knot
    right: Numbers  # delta_{k+1}

    @property
    def s(self) -> Numbers:
        """The slope of the straight line through both knots."""
        return self.height / self.width


class RationalQuadratic(Elementwise):
    """g maps [-B, B] to itself by a quotient of two quadratic polynomials in each of K bins, and is x outside.

    theta holds the K widths and K heights of the bins before a softmax, and the derivatives at the K - 1 knots between
    them before a softplus; at the ends they are 1. With theta = 0, g is the identity.
    """

    def __init__(
        self,
        *,
        bins: TwoOrMore,  # K
        bound: PositiveFloat,  # B
    ):
        super().__init__()
        if not (2 <= bins <= MOST_BINS and bound > 0):
            raise UserError(
                f"a spline got bins={bins} and bound={bound}, expected 2 to {MOST_BINS} bins and a bound above 0; "
                "correct bins and bound of the model's bijections"
            )
        self.bins, self.bound, self.n_params = bins, bound, 3 * bins - 1

    def forward(self, x: Numbers, theta: Parameters) -> tuple[Numbers, Numbers]:
        inside = x.abs() < self.bound
        z, log_slope = values(*self.located(x, theta, by="x"))
        return torch.where(inside, z, x), torch.where(inside, log_slope, 0)

    def inverse(self, z: Numbers, theta: Parameters) -> Numbers:
        return torch.where(z.abs() < self.bound, solved(*self.located(z, theta, by="y")), z)

    def located(self, v: Numbers, theta: Parameters, by: str) -> tuple[Numbers, Bin]:
        """The numbers, those outside put onto the bound, and the bins where they are by their x or by their y."""
        v = v.clamp(-self.bound, self.bound)
        edges = dict(zip(("x", "y", "derivative"), self.knots(theta), strict=True))
        k = (torch.searchsorted(edges[by].detach(), v[..., None], right=True) - 1).clamp(0, self.bins - 1)
        (x, x_next), (y, y_next), (left, right) = ((e.gather(-1, k), e.gather(-1, k + 1)) for e in edges.values())
        return v, Bin(*(each[..., 0] for each in (x, y, x_next - x, y_next - y, left, right)))

    def knots(self, theta: Parameters) -> tuple[Edges, Edges, Edges]:
        """x, y and derivative at all K + 1 knots."""
        widths, heights, derivatives = theta.movedim(1, -1).split([self.bins, self.bins, self.bins - 1], dim=-1)
        inner = SMALLEST + softplus(derivatives + ONE)
        return self.edges(widths), self.edges(heights), pad(inner, (1, 1), value=1.0)

    def edges(self, sizes: Float[Tensor, "b *numbers bins"]) -> Edges:
        """The ends of the bins, from -B to B."""
        parts = SMALLEST + (1 - SMALLEST * self.bins) * sizes.softmax(-1)
        inner = self.bound * (2 * parts.cumsum(-1)[..., :-1] - 1)
        return pad(pad(inner, (1, 0), value=-self.bound), (0, 1), value=self.bound)


def values(x: Numbers, at: Bin) -> tuple[Numbers, Numbers]:
    """g(x) and log g'(x) (equations 4 and 5)."""
    xi = (x - at.x) / at.width
    between = xi * (1 - xi)
    scale = at.s + (at.right + at.left - 2 * at.s) * between
    z = at.y + at.height * (at.s * xi.square() + at.left * between) / scale
    slope = at.right * xi.square() + 2 * at.s * between + at.left * (1 - xi).square()
    return z, 2 * at.s.log() + slope.log() - 2 * scale.log()


def solved(y: Numbers, at: Bin) -> Numbers:
    """x with g(x) = y, the root of a quadratic equation in the form without cancellation (equations 6 to 8)."""
    rise = y - at.y
    bend = rise * (at.right + at.left - 2 * at.s)
    a = at.height * (at.s - at.left) + bend
    b = at.height * at.left - bend
    c = -at.s * rise
    xi = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
    return at.x + xi * at.width
