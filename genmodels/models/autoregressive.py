"""Autoregressive models: p(u) = Π_i p(u_i | u_1, ..., u_{i-1}) over the sites of a code.

Source: PixelRNN (van den Oord et al. 2016, https://arxiv.org/abs/1601.06759), equations 1 and 2. The
network defines the sites and their order (`genmodels.nn.causal.network`), the site likelihood the distribution of a
site (`genmodels.parts.site_likelihoods`), and the space what is modelled: the data themselves, or codes of another run.
"""

from math import log, prod

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn

from genmodels.capabilities import (
    NO_CONDITION,
    Batch,
    Bound,
    Condition,
    HasLikelihood,
    HasLoss,
    PerSample,
    Protocol,
    Sampler,
    Samples,
    Terms,
)
from genmodels.context import Conditioner, Context
from genmodels.fields import require_samples
from genmodels.nn.causal.network import CausalNetwork, Order
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.parts.spaces import Space
from genmodels.samplers.direct import Direct
from genmodels.seeds import GLOBAL, Random
from genmodels.trees import count


class Autoregressive(nn.Module, HasLoss, Samples, HasLikelihood):
    """log p(x) = Σ_i log p(u_i | u_<i) + correction, with u and the correction from the space's `encode`."""

    samplers = (Direct,)
    steered_by = ("temperature",)

    def __init__(
        self,
        *,
        space: Space,
        network: CausalNetwork,
        site_likelihood: SiteLikelihood,
        conditioner: Conditioner,
        sampler: Sampler,
    ):
        super().__init__()
        self.space = space
        self.x = space.x
        self.network = network
        self.site_likelihood = site_likelihood
        self.conditioner = conditioner
        self.condition = conditioner.fields
        self.bound: Bound = "exact" if space.lossless and not space.stochastic else "elbo"
        self.use(sampler)

    def loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """-log p(x), or -log p(x|condition), in nats per sample, or its upper bound (see `bound`)."""
        return {"loss": -self.scored(x, condition)}

    @torch.no_grad()
    def log_prob(
        self, x: Batch, condition: Condition = NO_CONDITION, *, draws: int | None = None
    ) -> Float[Tensor, "*draws b"]:
        require_samples(x, self.x)
        if draws is None:
            return self.scored(x, condition)
        return torch.stack([self.scored(x, condition) for _ in range(draws)])

    def likelihood_protocol(self) -> Protocol:
        return self.space.protocol() | self.network.likelihood_protocol()

    def sampling_protocol(self) -> Protocol:
        return super().sampling_protocol() | self.network.sampling_protocol()

    def scored(self, x: Batch, condition: Condition) -> PerSample:
        """log p(x), with gradients."""
        u, correction = self.space.encode(x)
        context = self.conditioner(self.conditioner.given(condition, count(x)))
        return self.scored_codes(u, context) + correction

    def scored_codes(self, u: Integer[Tensor, " b *code"], context: Context) -> PerSample:
        """log p(u), the mean of the probabilities of the network's passes."""
        passes = [self.scored_pass(u, *each) for each in self.network.passes(u, context)]
        return torch.stack(passes).logsumexp(0) - log(len(passes))

    def scored_pass(self, u: Integer[Tensor, " b *code"], order: Order, params: Float[Tensor, "b k s"]) -> PerSample:
        values = u.flatten(1)[:, order]  # (b, sites, v)
        return self.site_likelihood.log_prob(params.float(), values).sum(1)

    @torch.no_grad()
    def sample(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Shaped[Tensor, " n *shape"]:
        """`n` samples, drawn site by site in the network's order without dropout; costs about one pass."""
        context = self.conditioner(self.conditioner.given_or_drawn(condition, n, rng))
        stepper, order, code = self.network.stepper(n, context), self.network.order, self.space.code
        u = torch.zeros(n, prod(code.shape), dtype=code.dtype, device=order.device)
        values = None
        for site in order:
            values = self.site_likelihood.sample(stepper.step(values).float(), rng, self.temperature)
            u[:, site] = values.to(code.dtype)
        x = self.space.decode(u.unflatten(1, code.shape), rng)
        assert isinstance(x, Tensor)
        return x

    @property
    def temperature(self) -> float:
        assert isinstance(self.sampler, Direct)
        return self.sampler.temperature
