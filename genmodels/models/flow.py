"""Normalizing flow: bijections and a base density (Dinh et al. 2017, https://arxiv.org/abs/1605.08803)."""

from collections.abc import Iterable, Mapping
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import (
    NO_CONDITION,
    Batch,
    Bound,
    Condition,
    Encodes,
    HasLikelihood,
    HasLoss,
    Initialises,
    Prepares,
    Protocol,
    Sampler,
    Samples,
    Terms,
)
from genmodels.context import Conditioner, Context
from genmodels.fields import require_samples
from genmodels.nn.flows.actnorm import initialising
from genmodels.nn.flows.batch_norm import BatchNorm, settling
from genmodels.nn.flows.bijections import Bijection, Chain, Reals, without_inverse
from genmodels.parts.densities import Density
from genmodels.parts.spaces import Space
from genmodels.samplers.direct import Direct
from genmodels.seeds import GLOBAL, Random
from genmodels.trees import cat, count, repeat, tensors


class Flow(nn.Module, HasLoss, Samples, HasLikelihood, Encodes, Initialises, Prepares):
    """log p(x) = log p(z) + ladj with z = f(u), where u is the code of x; ladj includes the space's correction.

    If encoding draws random numbers (dequantization), each call gives a random lower bound of log p(x), the log
    importance weight log p(u)/q(u|x), and `bound` is "elbo"; otherwise it is "exact".
    """

    samplers = (Direct,)
    steered_by = ("temperature",)

    def __init__(
        self,
        *,
        space: Space,  # from data to the codes that f transforms
        bijections: Mapping[str, Bijection],  # f, from first to last, from codes to noise
        base: Density,  # p(z)
        conditioner: Conditioner,
        sampler: Sampler,
    ):
        super().__init__()
        self.space = space
        self.x = space.x
        self.f = Chain(bijections.values())
        self.base = base
        self.conditioner = conditioner
        self.condition = conditioner.fields
        self.bound: Bound = "elbo" if space.stochastic else "exact"
        self.lacks = lacking(self.f)
        self.use(sampler)

    def loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """-log p(x) = -(log p(z) + ladj) in nats per sample, with its terms `base` = log p(z) and `ladj`."""
        return self.score(x, self.context(condition, count(x)))

    @torch.no_grad()
    def log_prob(
        self, x: Batch, condition: Condition = NO_CONDITION, *, draws: int | None = None
    ) -> Float[Tensor, "*draws b"]:
        require_samples(x, self.x)
        n = count(x)
        context = self.context(condition, n)
        if draws is None:
            return -self.score(x, context)["loss"]
        return -self.score(repeat(x, draws), context.repeat(draws))["loss"].view(draws, n)

    def likelihood_protocol(self) -> Protocol:
        return self.space.protocol()

    @torch.no_grad()
    def sample(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Batch:
        assert isinstance(self.sampler, Direct)
        z = self.base.sample(n, rng, self.sampler.temperature)
        context = self.conditioner(self.conditioner.given_or_drawn(condition, n, rng))
        return self.space.decode(self.f.inverse(z, context), rng)

    @torch.no_grad()
    def encode(self, x: Batch, condition: Condition = NO_CONDITION) -> Reals:
        """The noise of each sample, in the shape of its code; for integers, of the middle of their bins."""
        return self.f(self.space.middle(x), self.context(condition, count(x)))[0]

    @torch.no_grad()
    def decode(self, z: Reals, condition: Condition = NO_CONDITION) -> Batch:
        return self.space.decode(self.f.inverse(z, self.context(condition, len(z))))

    @torch.no_grad()
    def initialise(self, x: Batch, condition: Condition = NO_CONDITION) -> None:
        """Sets every ActNorm from its input, in float32 even under autocast."""
        with torch.autocast(tensors(x)[0][1].device.type, enabled=False), initialising(self):
            self.loss(x, condition)

    @torch.no_grad()
    def before_evaluation(self, batches: Iterable[tuple[Batch, Condition]]) -> None:
        """Sets the moments of batch norm to those of `standing_batches` batches of training data together."""
        n = max(part.standing_batches for part in self.f.modules() if isinstance(part, BatchNorm))
        x, condition = cat([*islice(batches, n)])
        with settling(self.f):
            self.loss(x, condition)

    def context(self, condition: Condition, n: int) -> Context:
        return self.conditioner(self.conditioner.given(condition, n))

    def score(self, x: Batch, context: Context) -> Terms:
        u, correction = self.space.encode(x)
        z, ladj = self.f(u, context)
        base, ladj = self.base.log_prob(z), correction + ladj
        return {"loss": -(base + ladj), "base": base, "ladj": ladj}


def lacking(f: Bijection) -> dict[type, str]:
    """The capabilities that a flow with these bijections lacks, and why."""
    lacks: dict[type, str] = {}
    if (name := without_inverse(f)) is not None:
        lacks |= dict.fromkeys((Samples, Encodes), f"its bijection {name} has no closed inverse")
    if not any(isinstance(part, BatchNorm) for part in f.modules()):
        lacks |= {Prepares: "it has no batch norm"}
    return lacks
