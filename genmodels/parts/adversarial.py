"""Adversarial losses as functions of the discriminator's logits, and the gradient penalty."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from genmodels.capabilities import PerSample

Logits = Float[Tensor, "b *patches"]  # one per sample, or one per patch of a sample


class AdversarialLoss(ABC):
    """The losses of the two players as functions of logits of any shape."""

    @abstractmethod
    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        """The discriminator's loss on a real and a fake sample; in nats if the logits are log-odds."""

    @abstractmethod
    def generator(self, fake: Logits) -> Logits:
        """The generator's loss on a fake sample."""


class NonSaturating(AdversarialLoss):
    """-log D(x) - log(1 - D(G(z))) and -log D(G(z)), with D = σ(logit) (Goodfellow et al. 2014,
    https://arxiv.org/abs/1406.2661, section 3)."""

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        return softplus(-real) + softplus(fake)

    def generator(self, fake: Logits) -> Logits:
        return softplus(-fake)


class Wasserstein(AdversarialLoss):
    """f(G(z)) - f(x) and -f(G(z)), with a critic f that must be kept 1-Lipschitz by other means (Arjovsky et
    al. 2017, https://arxiv.org/abs/1701.07875)."""

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        return fake - real

    def generator(self, fake: Logits) -> Logits:
        return -fake


class LeastSquares(AdversarialLoss):
    """((D(x) - 1)² + D(G(z))²)/2 and (D(G(z)) - 1)² (Mao et al. 2017, https://arxiv.org/abs/1611.04076); the
    discriminator's loss is halved as in Zhu et al. (2017, https://arxiv.org/abs/1703.10593, section 7.1)."""

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        return ((real - 1).square() + fake.square()) / 2

    def generator(self, fake: Logits) -> Logits:
        return (fake - 1).square()


@torch.compiler.disable  # a compiled function has no second derivative
def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Float[Tensor, " b *shape"], fake: Float[Tensor, " b *shape"]
) -> PerSample:
    """(|∇f(u)| - 1)² at a random u between each real and fake sample, (b,), in float32 even under autocast.

    Unweighted, and differentiable in the critic's parameters (Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028,
    equation 3).
    """
    real, fake = real.detach().float(), fake.detach().float()
    epsilon = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    u = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    with torch.autocast(real.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(critic(u).sum(), u, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square()
