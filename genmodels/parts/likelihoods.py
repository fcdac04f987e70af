"""Pixel likelihoods p(x | params): distributions of integers 0..levels-1 given a decoder's outputs.

Entries are independent given the parameters, and the probabilities of each entry sum to 1 over the
levels, so that bits per dimension are meaningful. Two of the likelihoods are the mass that a density
on [-1, 1] has in the bin of half-width 1/(levels - 1) around each value; the outer bins include
the tails (Salimans et al. 2017, https://arxiv.org/abs/1701.05517, section 2.1).
"""

from abc import ABC, abstractmethod
from math import sqrt
from typing import ClassVar

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.special import erfcx

from genmodels.capabilities import PerSample
from genmodels.errors import UserError
from genmodels.ranges import TwoOrMore
from genmodels.seeds import GLOBAL, Random
from genmodels.units import quantize, to_unit

PixelParams = Float[Tensor, "b kc *hw"]  # k = n_params blocks of c channels each
PixelValues = Integer[Tensor, "b c *hw"]

LOG_SCALE = (-7.0, 7.0)  # log-scales on [-1, 1] are clamped to this; at -7 one of 256 levels is certain


class PixelLikelihood(nn.Module, ABC):
    """p(x | params) over integers; a decoder outputs `n_params` numbers for each entry of x."""

    n_params: ClassVar[int]

    def __init__(self, *, levels: TwoOrMore):
        super().__init__()
        self.levels = levels

    def log_prob(self, params: PixelParams, x: PixelValues) -> PerSample:
        """log p(x | params) in nats, summed over the entries of each sample, shape (b,)."""
        return self.log_mass(params, x).flatten(1).sum(1)

    @abstractmethod
    def log_mass(self, params: PixelParams, x: PixelValues) -> Float[Tensor, "b c *hw"]:
        """log p of each entry in nats, float32."""

    @abstractmethod
    def sample(self, params: PixelParams, rng: Random = GLOBAL) -> PixelValues:
        """A draw from p(x | params)."""

    @abstractmethod
    def mode(self, params: PixelParams) -> PixelValues:
        """The most probable value of each entry."""


class Bernoulli(PixelLikelihood):
    """Binary values; the parameter is the logit of p(x = 1)."""

    n_params = 1

    def __init__(self, *, levels: TwoOrMore):
        super().__init__(levels=levels)
        if levels != 2:
            raise UserError(
                f"the Bernoulli likelihood got data of {levels} levels, expected 2; use a binarized dataset "
                "(data=mnist_dynamic) or another likelihood (model/likelihood=discretized_logistic)"
            )

    def log_mass(self, params: PixelParams, x: PixelValues) -> Float[Tensor, "b c *hw"]:
        return logsigmoid(to_unit(x, self.levels) * params.float())

    def sample(self, params: PixelParams, rng: Random = GLOBAL) -> PixelValues:
        p = params.float().sigmoid()
        return (rng.uniform(p.shape, p.device) < p).to(torch.uint8)

    def mode(self, params: PixelParams) -> PixelValues:
        return (params > 0).to(torch.uint8)


class DiscretizedLogistic(PixelLikelihood):
    """Logistic distribution on [-1, 1], cut into bins; the parameters are its mean and log-scale."""

    n_params = 2

    def log_mass(self, params: PixelParams, x: PixelValues) -> Float[Tensor, "b c *hw"]:
        lower, upper, width = bins(x, *mean_and_log_scale(params), self.levels)
        # σ(upper) - σ(lower) = σ(upper) σ(-lower) (1 - exp(-width)), without a difference of near numbers
        inside = logsigmoid(upper) + logsigmoid(-lower) + log1mexp(width)
        return with_tails(x, self.levels, logsigmoid(upper), inside, logsigmoid(-lower))

    def sample(self, params: PixelParams, rng: Random = GLOBAL) -> PixelValues:
        mean, log_scale = mean_and_log_scale(params)
        return quantize(mean + log_scale.exp() * rng.uniform(mean.shape, mean.device).logit(), self.levels)

    def mode(self, params: PixelParams) -> PixelValues:
        return mode_of_bins(self, params)


class Gaussian(PixelLikelihood):
    """Normal distribution on [-1, 1], cut into bins; the parameters are its mean and log-standard-deviation."""

    n_params = 2

    def log_mass(self, params: PixelParams, x: PixelValues) -> Float[Tensor, "b c *hw"]:
        mean, log_scale = mean_and_log_scale(params)
        lower, upper, _ = bins(
            x, mean.double(), log_scale.double(), self.levels
        )  # tails are differences of large numbers
        right = lower + upper > 0  # Φ(upper) - Φ(lower) = Φ(-lower) - Φ(-upper): use the side where Φ is small
        far, near = torch.where(right, -upper, lower), torch.where(right, -lower, upper)
        inside = (log_near := log_ndtr(near)) + log1mexp(log_near - log_ndtr(far))
        return with_tails(x, self.levels, log_ndtr(upper), inside, log_ndtr(-lower)).float()

    def sample(self, params: PixelParams, rng: Random = GLOBAL) -> PixelValues:
        mean, log_scale = mean_and_log_scale(params)
        return quantize(mean + log_scale.exp() * rng.normal(mean.shape, mean.device), self.levels)

    def mode(self, params: PixelParams) -> PixelValues:
        return mode_of_bins(self, params)


def mean_and_log_scale(params: PixelParams) -> tuple[Tensor, Tensor]:
    """The two halves of the parameters in float32, each (b, c, h, w): mean, and log-scale clamped to LOG_SCALE."""
    mean, log_scale = params.float().chunk(2, dim=1)
    return mean, log_scale.clamp(*LOG_SCALE)


def bins(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lower edge, upper edge and width of each value's bin, standardized: (edge - mean)/scale.

    Distances are computed in levels, where edges are half-integers and exact in float32.
    """
    levels_per_unit = (levels - 1) / 2
    center, width = (mean + 1) * levels_per_unit, torch.exp(-log_scale) / levels_per_unit
    return (x - 0.5 - center) * width, (x + 0.5 - center) * width, width


def with_tails(x: Tensor, levels: int, lowest: Tensor, inside: Tensor, highest: Tensor) -> Tensor:
    """Log-mass of each value's bin; the first and the last bin reach to infinity."""
    return torch.where(x == 0, lowest, torch.where(x == levels - 1, highest, inside))


def log_ndtr(t: Tensor) -> Tensor:
    """log Φ(t); unlike torch's, its gradient is right far in the left tail too."""
    left, right = t.clamp(max=0), t.clamp(min=0)
    below = (erfcx(-left / sqrt(2)) / 2).log() - left.square() / 2
    return torch.where(t < 0, below, torch.log1p(-torch.erfc(right / sqrt(2)) / 2))


def log1mexp(t: Tensor) -> Tensor:
    """log(1 - exp(-t)) for t > 0."""
    return torch.log(-torch.expm1(-t))


def mode_of_bins(likelihood: PixelLikelihood, params: PixelParams) -> PixelValues:
    """The level nearest to the mean, or an outer level if its tail has more mass."""
    nearest = quantize(params.chunk(2, dim=1)[0], likelihood.levels)
    outer = torch.full_like(nearest, likelihood.levels - 1)
    candidates = torch.stack([nearest, torch.zeros_like(nearest), outer])  # (3, b, c, h, w)
    log_mass = torch.stack([likelihood.log_mass(params, x) for x in candidates])
    return candidates.gather(0, log_mass.argmax(0, keepdim=True))[0]
