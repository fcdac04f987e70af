"""Generative adversarial network (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661): a generator, a
discriminator, an adversarial loss and a gradient penalty (Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import Batch, HasAdversary, Labels, Samples, Terms
from genmodels.errors import UserError
from genmodels.nn.adversarial import AdversarialLoss, gradient_penalty
from genmodels.nn.labels import labels_to_sample, labels_to_score
from genmodels.seeds import GLOBAL, Random
from genmodels.units import quantize, to_unit


class GAN(nn.Module, HasAdversary, Samples):
    """x = G(z, y) with z from N(0, I), trained against a discriminator of G's images and the data's."""

    origin: Tensor  # the mean of z, (d,); knows the device

    def __init__(
        self,
        *,
        generator: nn.Module,  # z (b, d) and y -> images on (-1, 1), (b, c, h, w)
        discriminator: nn.Module,  # images on [-1, 1], (b, c, h, w), and y -> logits (b,)
        adversarial: AdversarialLoss,
        gradient_penalty: float | int,  # its weight in the discriminator's loss; 0: none
        discriminator_steps: int,  # discriminator updates before one generator update
        latent_dim: int,  # d
        levels: int,
        conditional: bool,
        classes: int | None,
    ):
        super().__init__()
        assert conditional == (classes is not None)
        if gradient_penalty > 0 and any(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules()):
            raise UserError(
                f"the GAN got gradient_penalty={gradient_penalty:g} and a discriminator with batch norm, which mixes "
                "the images whose gradients are to have norm 1; set model.discriminator.normalization=none or "
                "model.gradient_penalty=0"
            )
        self.generator = generator
        self.discriminator = discriminator
        self.adversarial = adversarial
        self.gradient_penalty = gradient_penalty
        self.discriminator_steps = discriminator_steps
        self.latent_dim = latent_dim
        self.levels = levels
        self.classes = classes
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    def generator_loss(self, x: Batch, y: Labels | None = None) -> Terms:
        """The adversarial loss of as many fakes as there are images in `x`, (b,)."""
        y = labels_to_score(y, self.classes)
        logit = self.discriminator(self.fakes(len(x), y), y).float()
        return {"loss": self.adversarial.generator(logit)}

    def discriminator_loss(self, x: Batch, y: Labels | None = None) -> Terms:
        """The adversarial loss of `x` against as many fakes, and the weighted penalty, (b,); the two logits."""
        y = labels_to_score(y, self.classes)
        with torch.no_grad():
            fake = self.fakes(len(x), y)
        real = to_unit(x, self.levels)
        real_logit, fake_logit = self.discriminator(real, y).float(), self.discriminator(fake, y).float()
        terms = {"real_logit": real_logit, "fake_logit": fake_logit}
        loss = self.adversarial.discriminator(real_logit, fake_logit)
        if self.gradient_penalty > 0:
            terms["penalty"] = gradient_penalty(lambda u: self.discriminator(u, y), real, fake)
            loss = loss + self.gradient_penalty * terms["penalty"]
        return {"loss": loss, **terms}

    @torch.no_grad()
    def sample(self, n: int, y: Labels | None = None, rng: Random = GLOBAL) -> Batch:
        """G(z, y) in data units, (n, c, h, w); in eval mode images do not depend on each other."""
        y = labels_to_sample(n, y, self.classes, self.origin.device, rng)
        return quantize(self.fakes(n, y, rng), self.levels)

    def fakes(self, n: int, y: Labels | None, rng: Random = GLOBAL) -> Float[Tensor, "n c h w"]:
        """`n` images of the generator on (-1, 1), float32."""
        z = rng.normal((n, self.latent_dim), self.origin.device).to(self.origin)
        return self.generator(z, y).float()
