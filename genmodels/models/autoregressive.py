"""Autoregressive models: p(u) = Π_i p(u_i | u_1, ..., u_{i-1}) over the sites of a code.

Source: PixelRNN (van den Oord et al. 2016, https://arxiv.org/abs/1601.06759), equations 1 and 2. The
network defines the sites and their order (`genmodels.nn.causal.network`), the site likelihood the distribution of a
site (`genmodels.parts.site_likelihoods`), and the space what is modelled: the data themselves, or codes of another run.
"""

from math import log

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.capabilities import (
    NO_CONDITION,
    Batch,
    Bound,
    Completes,
    Condition,
    HasLikelihood,
    HasLoss,
    PerSample,
    Protocol,
    Sampler,
    Samples,
    Terms,
    require_given,
    why_not,
)
from genmodels.context import Conditioner, Context
from genmodels.errors import UserError
from genmodels.fields import require_samples
from genmodels.nn.causal.network import CausalNetwork, Codes, Order
from genmodels.parts.site_likelihoods import SiteLikelihood
from genmodels.parts.spaces import Space
from genmodels.samplers.direct import Direct
from genmodels.seeds import GLOBAL, Random
from genmodels.trees import count


class Autoregressive(nn.Module, HasLoss, Samples, HasLikelihood, Completes):
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
        self.sites = len(network.order)
        self.bound: Bound = "exact" if space.lossless and not space.stochastic else "elbo"
        self.lacks = lacking(network, self.bound)
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

    def scored_codes(self, u: Codes, context: Context) -> PerSample:
        """log p(u), of the mean of the probabilities of the network's passes."""
        passes = [self.scored_sites(u, *each).sum(1) for each in self.network.passes(u, context)]
        return torch.stack(passes).logsumexp(0) - log(len(passes))

    def scored_sites(self, u: Codes, order: Order, params: Float[Tensor, "b k sites"]) -> Float[Tensor, "b sites"]:
        """log p(u_i | u_<i) of every site, in this order."""
        values = u.flatten(1)[:, order]  # (b, sites, v)
        return self.site_likelihood.log_prob(params.float(), values)

    @torch.no_grad()
    def log_prob_rest(self, x: Batch, given: int, condition: Condition = NO_CONDITION) -> PerSample:
        u, context = self.to_complete(x, given, condition)
        return self.scored_sites(u, self.network.order, self.network(u, context))[:, given:].sum(1)

    def to_complete(self, x: Batch, given: int, condition: Condition) -> tuple[Codes, Context]:
        """Codes and contexts of samples whose first sites are given; UserError where these are not such."""
        if reason := why_not(self, Completes):
            raise UserError(f"{reason}; give a run of a model of the data themselves")
        require_samples(x, self.x)
        require_given(given, self.sites)
        return self.space.encode(x)[0], self.conditioner(self.conditioner.given(condition, count(x)))

    @torch.no_grad()
    def complete(self, x: Batch, given: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Batch:
        u, context = self.to_complete(x, given, condition)
        return self.space.decode(self.drawn(u.to(self.space.code.dtype), given, context, rng), rng)

    @torch.no_grad()
    def sample(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Shaped[Tensor, " n *shape"]:
        """`n` samples, drawn site by site in the network's order without dropout; costs about one pass."""
        context = self.conditioner(self.conditioner.given_or_drawn(condition, n, rng))
        code = self.space.code
        nothing = torch.zeros(n, *code.shape, dtype=code.dtype, device=self.network.order.device)
        x = self.space.decode(self.drawn(nothing, 0, context, rng), rng)
        assert isinstance(x, Tensor)
        return x

    def drawn(self, u: Codes, given: int, context: Context, rng: Random) -> Codes:
        """`u` with new values for all sites but the first `given` ones."""
        flat, values, stepper = u.flatten(1).clone(), None, self.network.stepper(len(u), context)
        for number, site in enumerate(self.network.order):
            params = stepper.step(values)
            if number < given:
                values = flat[:, site].long()
            else:
                values = self.site_likelihood.sample(params.float(), rng, self.temperature)
                flat[:, site] = values.to(flat.dtype)
        return flat.unflatten(1, u.shape[1:])

    @property
    def temperature(self) -> float:
        assert isinstance(self.sampler, Direct)
        return self.sampler.temperature


def lacking(network: CausalNetwork, bound: Bound) -> dict[type, str]:
    """The capabilities that a model with this network lacks, and why."""
    if bound != "exact":
        return {Completes: "its sites are those of codes, not of the samples themselves"}
    if not network.one_order:
        return {Completes: "its likelihood is a mean over several orders, and not all have the given part first"}
    return {}
