"""Generative adversarial network (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661): a generator, a
discriminator, an adversarial loss, and optionally a smooth discriminator by a gradient penalty (Gulrajani et al. 2017,
https://arxiv.org/abs/1704.00028) or clipped weights (Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875)."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.capabilities import (
    NO_CONDITION,
    Batch,
    Clock,
    Condition,
    FollowsClock,
    HasPlayers,
    Player,
    Prepares,
    Sampler,
    Samples,
    Terms,
)
from genmodels.context import Conditioner, Context
from genmodels.errors import UserError
from genmodels.nn.layers.batch_norm import standing_statistics
from genmodels.parts.adversarial import AdversarialLoss, gradient_penalty
from genmodels.parts.spaces import Space
from genmodels.ranges import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from genmodels.samplers.direct import Direct
from genmodels.seeds import GLOBAL, Random
from genmodels.trees import count


class GAN(nn.Module, HasPlayers, Samples, FollowsClock, Prepares):
    """u = G(z, c) with z from N(0, I), trained against a discriminator between G's images and the data."""

    samplers = (Direct,)
    steered_by = ("truncation",)
    unaveraged = ("discriminator",)
    origin: Tensor  # the mean of z, (d,); holds the device

    def __init__(
        self,
        *,
        space: Space,
        generator: nn.Module,  # z (b, d) and a context -> images on (-1, 1), (b, c, h, w)
        discriminator: nn.Module,  # images on [-1, 1], (b, c, h, w), and a context -> logits (b,)
        adversarial: AdversarialLoss,
        gradient_penalty: NonNegativeFloat,  # weight of the penalty in the discriminator's loss; 0: none
        weight_clip: PositiveFloat | None,  # bound on the discriminator's weights; None: none
        discriminator_steps: PositiveInt,  # discriminator updates before one generator update
        standing_batches: NonNegativeInt,  # batches for batch norm's statistics before an evaluation; 0: as trained
        latent_dim: PositiveInt,  # d
        conditioner: Conditioner,
        sampler: Sampler,
    ):
        super().__init__()
        if gradient_penalty > 0 and any(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules()):
            raise UserError(
                f"the GAN got gradient_penalty={gradient_penalty:g} and a discriminator with batch norm, which mixes "
                "the images whose gradients should have norm 1; set model.discriminator.normalization=none or "
                "model.gradient_penalty=0"
            )
        if weight_clip is not None and weight_clip <= 0:
            raise UserError(f"model.weight_clip is {weight_clip}, expected a number above 0, or null for none")
        self.space = space
        self.generator = generator
        self.discriminator = discriminator
        self.conditioner = conditioner
        self.adversarial = adversarial
        self.gradient_penalty = gradient_penalty
        self.weight_clip = weight_clip
        self.discriminator_steps = discriminator_steps
        self.standing_batches = standing_batches
        self.latent_dim = latent_dim
        self.condition = conditioner.fields
        self.lacks = {} if standing_batches else {Prepares: "batch norm has the statistics of training"}
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)
        self.use(sampler)

    def players(self) -> Sequence[Player]:
        """The discriminator takes `discriminator_steps` steps on new batches, the generator one step on the last."""
        return [
            Player("discriminator", [self.discriminator], self.discriminator_loss, 1),
            Player("generator", [self.generator, self.conditioner], self.generator_loss, self.discriminator_steps),
        ]

    def generator_loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """The adversarial loss of as many fakes as there are samples in `x`, (b,)."""
        n = count(x)
        context = self.conditioner(self.conditioner.given(condition, n))
        logit = self.discriminator(self.fakes(n, context), context).float()
        return {"loss": self.adversarial.generator(logit)}

    def discriminator_loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """The adversarial loss of `x` against as many fakes plus the weighted penalty, (b,); both logits are terms."""
        n = count(x)
        context = self.conditioner(self.conditioner.given(condition, n))
        with torch.no_grad():
            fake = self.fakes(n, context)
        real = self.space.encode(x)[0]
        real_logit = self.discriminator(real, context).float()
        fake_logit = self.discriminator(fake, context).float()
        terms = {"real_logit": real_logit, "fake_logit": fake_logit}
        loss = self.adversarial.discriminator(real_logit, fake_logit)
        if self.gradient_penalty > 0:
            terms["penalty"] = gradient_penalty(lambda u: self.discriminator(u, context), real, fake)
            loss = loss + self.gradient_penalty * terms["penalty"]
        return {"loss": loss, **terms}

    def after_step(self, player: str, clock: Clock) -> None:
        """Clips the discriminator's weights to [-weight_clip, weight_clip], if `weight_clip` is set."""
        if player == "discriminator" and self.weight_clip is not None:
            for weight in self.discriminator.parameters():
                weight.clamp_(-self.weight_clip, self.weight_clip)

    def before_evaluation(self, batches: Iterable[tuple[Batch, Condition]]) -> None:
        """Computes batch norm's statistics in G again, as means over `standing_batches` batches of latents with the
        data's conditions (Brock et al. 2019, https://arxiv.org/abs/1809.11096, section 4.1)."""
        with standing_statistics(self.generator):
            for x, condition in islice(batches, self.standing_batches):
                n = count(x)
                self.fakes(n, self.conditioner(self.conditioner.given(condition, n)))

    @torch.no_grad()
    def sample(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Shaped[Tensor, " n *shape"]:
        """G(z, c) in data units; in eval mode samples do not depend on each other."""
        context = self.conditioner(self.conditioner.given_or_drawn(condition, n, rng))
        assert isinstance(self.sampler, Direct)
        return cast(Tensor, self.space.decode(self.fakes(n, context, rng, self.sampler.truncation), rng))

    def fakes(
        self, n: int, context: Context, rng: Random = GLOBAL, truncation: float | None = None
    ) -> Float[Tensor, "n c h w"]:
        """`n` images of the generator on (-1, 1), float32."""
        shape, device = (n, self.latent_dim), self.origin.device
        z = (
            rng.normal(shape, device)
            if truncation is None
            else truncated_normal(rng.uniform(shape, device), truncation)
        )
        return self.generator(z.to(self.origin), context).float()


def truncated_normal(uniform: Float[Tensor, "*shape"], bound: float) -> Float[Tensor, "*shape"]:
    """Draws from N(0, 1) given |z| <= bound: the inverse distribution function of uniform draws on [0, 1)."""
    low = torch.special.ndtr(torch.tensor(-bound, dtype=torch.float64))
    return torch.special.ndtri(low + uniform.double() * (1 - 2 * low)).clamp(-bound, bound).float()
