"""CycleGAN (Zhu et al. 2017, https://arxiv.org/abs/1703.10593): translation between two domains without pairs.

G maps the first domain to the second, F back. With least-squares adversarial losses each sample x of the first domain
has the generators' loss (equations 1 to 3, and section 5.2's identity loss)

    (D_second(G(x)) - 1)^2 + cycle |F(G(x)) - x| + cycle identity |F(x) - x|,

and samples of the second domain have the same loss with the roles exchanged. Squares are averaged over patches,
absolute values over entries.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from genmodels.capabilities import (
    NO_CONDITION,
    Batch,
    Condition,
    HasPlayers,
    PerSample,
    Player,
    Terms,
    Translates,
)
from genmodels.errors import UserError
from genmodels.nn.gan.cyclegan import Pool
from genmodels.parts.adversarial import AdversarialLoss
from genmodels.parts.spaces import Space
from genmodels.ranges import NonNegativeFloat, NonNegativeInt, PositiveInt
from genmodels.seeds import GLOBAL, Random

DomainNumbers = Int[Tensor, "b"]  # 0, the first, or 1


class CycleGAN(nn.Module, HasPlayers, Translates):
    """Two generators against two discriminators. The condition `label` is the domain of a sample; a batch has samples
    of both domains or of one.

    All networks process the whole batch, and each sample uses the output meant for it, so that the computation does
    not depend on how many samples a domain has.
    """

    domains = 2
    unaveraged = ("of_first", "of_second", "fakes_of_first", "fakes_of_second")

    def __init__(
        self,
        *,
        space: Space,
        domains: PositiveInt,  # of the data
        to_first: nn.Module,  # images of the second domain on [-1, 1], (b, c, h, w), to those of the first
        to_second: nn.Module,
        of_first: nn.Module,  # discriminator of the first domain: images to logits (b, rows, columns)
        of_second: nn.Module,
        adversarial: AdversarialLoss,
        cycle: NonNegativeFloat,  # weight of the cycle loss
        identity: NonNegativeFloat,  # weight of the identity loss, relative to `cycle`
        pool: NonNegativeInt,  # earlier fakes of each domain from which a discriminator may see one; 0: none
    ):
        super().__init__()
        if domains != 2:
            raise UserError(
                f"CycleGAN translates between two domains, and data.classes is {domains}; choose data of two domains, "
                "such as data=domains"
            )
        self.space = space
        self.to_first, self.to_second = to_first, to_second
        self.of_first, self.of_second = of_first, of_second
        self.fakes_of_first, self.fakes_of_second = (Pool(space.code.shape, pool) for _ in range(2))
        self.adversarial = adversarial
        self.cycle = cycle
        self.identity = identity

    def players(self) -> Sequence[Player]:
        """The generators together, then the discriminators; one step of the run updates both on one batch."""
        return [
            Player("generators", [self.to_first, self.to_second], self.generator_loss, 1),
            Player("discriminators", [self.of_first, self.of_second], self.discriminator_loss, 1),
        ]

    def generator_loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """The loss in this file's docstring, (b,), and its three terms without weights."""
        domain, u = domains_of(condition, len(x)), self.space.encode(x)[0]
        fake = self.routed([self.to_first, self.to_second], u, 1 - domain)
        logits = self.routed([self.of_first, self.of_second], fake, 1 - domain)
        back = self.routed([self.to_first, self.to_second], fake, domain)
        adversarial = mean(self.adversarial.generator(logits.float()))
        cycle = mean((back - u).abs())
        terms = {"adversarial": adversarial, "cycle": cycle}
        loss = adversarial + self.cycle * cycle
        if self.identity > 0:
            terms["identity"] = mean((self.routed([self.to_first, self.to_second], u, domain) - u).abs())
            loss = loss + self.cycle * self.identity * terms["identity"]
        return {"loss": loss, **terms}

    def discriminator_loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """The adversarial loss, (b,): each sample is real for its own domain's discriminator, and its translation, or
        an earlier one from the pool, is fake for the other."""
        domain, u = domains_of(condition, len(x)), self.space.encode(x)[0]
        discriminators = [self.of_first, self.of_second]
        with torch.no_grad():
            fake = self.routed([self.to_first, self.to_second], u, 1 - domain)
            fake = self.fakes_of_second(self.fakes_of_first(fake, domain == 1), domain == 0)
        real_logits = self.routed(discriminators, u, domain).float()
        fake_logits = self.routed(discriminators, fake, 1 - domain).float()
        loss = mean(self.adversarial.discriminator(real_logits, fake_logits))
        return {"loss": loss, "real_logit": mean(real_logits), "fake_logit": mean(fake_logits)}

    @torch.no_grad()
    def translate(self, x: Batch, source: int, target: int, rng: Random = GLOBAL) -> Batch:
        """Samples of domain `source` translated to domain `target`, in data units; unchanged if both are the same."""
        for name, domain in (("source", source), ("target", target)):
            if domain not in (0, 1):
                raise UserError(f"{name} is domain {domain}, expected 0 or 1, one of the two domains of the data")
        if source == target:
            return x
        network = self.to_second if target else self.to_first
        return self.space.decode(network(self.space.encode(x)[0]).float())

    def routed(self, networks: Sequence[nn.Module], u: Tensor, to: DomainNumbers) -> Float[Tensor, "b ..."]:
        """For each sample the output of network number `to`, float32."""
        first, second = (network(u).float() for network in networks)
        return torch.where((to == 0).view(-1, *[1] * (first.ndim - 1)), first, second)


def domains_of(condition: Condition, n: int) -> DomainNumbers:
    """The domain of each of `n` samples."""
    label = condition.get("label")
    if label is None or label.shape != (n,):
        raise UserError("CycleGAN needs the domain of each sample; give condition={'label': ...}, 0 or 1")
    return label


def mean(values: Float[Tensor, "b ..."]) -> PerSample:
    """The mean over all dimensions but the batch."""
    return values.flatten(1).mean(1)
