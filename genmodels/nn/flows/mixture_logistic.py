"""The map of Flow++'s couplings: the distribution function of a mixture of logistics, then an affine map (Ho et al.
2019, https://arxiv.org/abs/1902.00275, section 3.2)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from genmodels.nn.flows.elementwise import Elementwise, Numbers, Parameters

HALVINGS = 64  # of the interval in which the inverse searches: then neighbouring float32 numbers
SMALLEST_LOG_SCALE = -7.0  # of a component, as in the authors' code

Components = Float[Tensor, "b k *numbers"]


class Mixture(NamedTuple):
    """Components of a mixture of logistics for each number."""

    log_pi: Components
    mu: Components
    s: Components  # log of the scales

    def logit(self, x: Numbers) -> Numbers:
        """logit F(x) = log F(x) - log(1 - F(x))."""
        u = self.standardized(x)
        return (self.log_pi + logsigmoid(u)).logsumexp(1) - (self.log_pi + logsigmoid(-u)).logsumexp(1)

    def log_slope(self, x: Numbers) -> Numbers:
        """log of d logit F(x)/dx = f/(1 - F) + f/F, a sum of positive numbers, which cannot cancel far away."""
        u = self.standardized(x)
        above, below = (self.log_pi + logsigmoid(v) for v in (-u, u))  # log of the components' parts of 1 - F, of F
        ratios = [above.log_softmax(1) + logsigmoid(u), below.log_softmax(1) + logsigmoid(-u)]
        return torch.logaddexp(*((ratio - self.s).logsumexp(1) for ratio in ratios))

    def standardized(self, x: Numbers) -> Components:
        return (x[:, None] - self.mu) * (-self.s).exp()

    def inverse(self, logit: Numbers) -> Numbers:
        """x with logit F(x) = logit, by bisection: between the least and the greatest x of the components alone."""
        alone = self.mu + logit[:, None] * self.s.exp()
        low, high = alone.amin(1), alone.amax(1)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            smaller = self.logit(middle) < logit
            low, high = torch.where(smaller, middle, low), torch.where(smaller, high, middle)
        return (low + high) / 2


class MixtureLogistic(Elementwise):
    """z = logit(F(x)) exp(a) + b, where F(x) = Σ_k pi_k sigmoid((x - mu_k) exp(-s_k)) has K components.

    theta = (r, b, logits of pi, mu, s), and a = scale · tanh(r) with a learned scale for each channel. At theta = 0 the
    components lie evenly from -1 to 1: in the same place they would all learn the same.
    """

    spread: Tensor

    def __init__(
        self,
        *,
        components: int,  # K
        channels: int,
        dims: int,  # dimensions of a sample: 1 for points, 3 for images
    ):
        super().__init__()
        self.n_params = 2 + 3 * components
        self.scale = nn.Parameter(torch.ones(channels, *[1] * (dims - 1)))
        places = torch.linspace(-1, 1, components) if components > 1 else torch.zeros(1)
        self.register_buffer("spread", places.view(-1, *[1] * dims), persistent=False)

    def forward(self, x: Numbers, theta: Parameters) -> tuple[Numbers, Numbers]:
        a, b, mixture = self.parts(theta)
        return mixture.logit(x) * a.exp() + b, mixture.log_slope(x) + a

    def inverse(self, z: Numbers, theta: Parameters) -> Numbers:
        a, b, mixture = self.parts(theta)
        return mixture.inverse((z - b) * (-a).exp())

    def parts(self, theta: Parameters) -> tuple[Numbers, Numbers, Mixture]:
        """a, b, and the mixture."""
        r, b, rest = theta[:, 0], theta[:, 1], theta[:, 2:]
        logits, mu, s = rest.chunk(3, dim=1)
        mixture = Mixture(logits.log_softmax(1), mu + self.spread, s.clamp(min=SMALLEST_LOG_SCALE))
        return self.scale * r.tanh(), b, mixture
