"""Site likelihoods: the distribution of a site's integers given the parameters from a causal network.

Source of the mixture: PixelCNN++ (Salimans et al. 2017, https://arxiv.org/abs/1701.05517), sections 2.1 and 2.2.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from torch import Tensor
from torch.nn.functional import logsigmoid

from genmodels.errors import UserError
from genmodels.parts.likelihoods import LOG_SCALE, bins, log1mexp, with_tails
from genmodels.ranges import PositiveInt, TwoOrMore
from genmodels.seeds import GLOBAL, Random
from genmodels.units import quantize, to_unit

SiteParams = Float[Tensor, "b k s"]
SiteValues = Integer[Tensor, "b s v"]


class SiteLikelihood(ABC):
    """p(values of a site | parameters) over integers 0..levels-1; sites are independent given the parameters."""

    @abstractmethod
    def n_params(self, v: int) -> int:
        """Number of parameters for a site of `v` values; UserError if it does not work for `v` values."""

    @abstractmethod
    def log_prob(self, params: SiteParams, values: SiteValues) -> Float[Tensor, "b s"]:
        """log p of each site in nats, float32."""

    @abstractmethod
    def sample(
        self, params: Float[Tensor, "n k"], rng: Random = GLOBAL, temperature: float = 1.0
    ) -> Int[Tensor, "n v"]:
        """A draw of one site for each of `n` samples; temperatures below 1 give likelier values."""


class Categorical(SiteLikelihood):
    """One value per site; the parameters are a logit for each level. A temperature divides the logits."""

    def __init__(
        self,
        *,
        levels: TwoOrMore,  # values that an entry can take
    ):
        self.levels = levels

    def n_params(self, v: int) -> int:
        if v != 1:
            raise UserError(
                f"the categorical likelihood is for sites of one value, and a site of this network has {v}; "
                "choose model/site_likelihood=mixture_of_logistics, or another model"
            )
        return self.levels

    def log_prob(self, params: SiteParams, values: SiteValues) -> Float[Tensor, "b s"]:
        return -F.cross_entropy(params.float(), values[:, :, 0].long(), reduction="none")

    def sample(
        self, params: Float[Tensor, "n k"], rng: Random = GLOBAL, temperature: float = 1.0
    ) -> Int[Tensor, "n v"]:
        return rng.categorical(params.float() / temperature)[:, None]


class MixtureOfLogistics(SiteLikelihood):
    """A mixture of logistic distributions of whole pixels on [-1, 1], cut into bins; the outer bins include the tails.

    Within a component, channel k has the mean m_k + Σ_{j<k} tanh(c_kj) x_j, where x_j are earlier channels on [-1, 1]
    (equation 3; the tanh and the least scale are from the authors' code). Every component has one logit, v means,
    v log-scales and v(v - 1)/2 coefficients, in this order. A temperature divides the logits and multiplies the
    scales.
    """

    def __init__(
        self,
        *,
        levels: TwoOrMore,  # values that an entry can take
        components: PositiveInt,  # of the mixture
        channels: PositiveInt,  # values of a site: 1 grey, 3 colour
    ):
        self.levels, self.components, self.channels = levels, components, channels
        self.sizes = [1, channels, channels, channels * (channels - 1) // 2]

    def n_params(self, v: int) -> int:
        if v != self.channels:
            raise UserError(
                f"the mixture of logistics is for sites of {self.channels} values, and a site of this network has {v}; "
                "choose model/site_likelihood=categorical, or model=pixelcnnpp, whose sites are pixels"
            )
        return self.components * sum(self.sizes)

    def log_prob(self, params: SiteParams, values: SiteValues) -> Float[Tensor, "b s"]:
        logits, means, log_scales, coefficients = self.parts(params)
        x = values[:, None]  # (b, 1, s, v)
        means = means + self.shift(coefficients, to_unit(x, self.levels))
        lower, upper, width = bins(x, means, log_scales, self.levels)
        # σ(upper) - σ(lower) = σ(upper) σ(-lower) (1 - exp(-width)), without a difference of near numbers
        inside = logsigmoid(upper) + logsigmoid(-lower) + log1mexp(width)
        log_mass = with_tails(x, self.levels, logsigmoid(upper), inside, logsigmoid(-lower)).sum(3)  # (b, m, s)
        return (logits.log_softmax(1) + log_mass).logsumexp(1)

    def sample(
        self, params: Float[Tensor, "n k"], rng: Random = GLOBAL, temperature: float = 1.0
    ) -> Int[Tensor, "n v"]:
        logits, *others = (part[:, :, 0] for part in self.parts(params[:, :, None]))
        component = rng.categorical(logits / temperature)
        means, log_scales, coefficients = (part[torch.arange(len(part)), component] for part in others)  # (n, v) each
        noise = log_scales.exp() * temperature * rng.uniform(means.shape, means.device).logit()
        x = torch.zeros_like(means)
        for k in range(self.channels):  # shifts of later channels are not read yet
            drawn = means[:, k] + self.shift(coefficients, x)[:, k] + noise[:, k]
            x[:, k] = to_unit(quantize(drawn, self.levels), self.levels)
        return quantize(x, self.levels).long()

    def parts(self, params: SiteParams) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (b, m, s), means and log-scales (b, m, s, v), coefficients (b, m, s, v(v-1)/2), in float32."""
        m = self.components
        cut = params.float().split([m * size for size in self.sizes], dim=1)
        logits, means, log_scales, coefficients = (part.unflatten(1, (m, -1)).transpose(2, 3) for part in cut)
        return logits[..., 0], means, log_scales.clamp(*LOG_SCALE), coefficients.tanh()

    def shift(self, coefficients: Float[Tensor, "*s pairs"], x: Float[Tensor, "*t v"]) -> Float[Tensor, "*s v"]:
        """Σ_{j<k} c_kj x_j for every channel k."""
        c, first, shifts = coefficients, 0, []
        for k in range(self.channels):
            shifts.append((c[..., first : first + k] * x[..., :k]).sum(-1))
            first += k
        return torch.stack(shifts, dim=-1)
