"""Variational autoencoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114; Rezende et al. 2014,
https://arxiv.org/abs/1401.4082): an encoder, a decoder, a likelihood and the bound that is trained."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import Batch, Encodes, HasLikelihood, HasLoss, Labels, PerSample, Samples, Terms
from genmodels.nn.labels import labels_to_sample, labels_to_score
from genmodels.nn.likelihoods import PixelLikelihood
from genmodels.nn.vae_objectives import Objective, PerDraw
from genmodels.seeds import GLOBAL, Random
from genmodels.units import to_unit

Code = Float[Tensor, "b d"]

LOG_STD = (-7.0, 7.0)  # log-stds of q(z|x) are kept in here


class VAE(nn.Module, HasLoss, Samples, HasLikelihood, Encodes):
    """p(z) = N(0, I);  q(z|x) = N(mean(x), std(x)²);  p(x|z) = likelihood of decoder(z); all given y if conditional."""

    bound = "elbo"
    origin: Tensor  # the prior's mean, (d,); knows the device

    def __init__(
        self,
        *,
        encoder: nn.Module,  # x (b, c, h, w) on [-1, 1] and y -> mean and log-std of q(z|x), (b, 2d)
        decoder: nn.Module,  # z (b, d) and y -> parameters of the likelihood
        likelihood: PixelLikelihood,
        objective: Objective,
        latent_dim: int,  # d
        conditional: bool,
        classes: int | None,
    ):
        super().__init__()
        assert conditional == (classes is not None)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.objective = objective
        self.latent_dim = latent_dim
        self.classes = classes
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    def loss(self, x: Batch, y: Labels | None = None) -> Terms:
        """The objective over its draws of z; `rate` is KL(q(z|x) | p(z)), `distortion` -E_q[log p(x|z)]; nats, (b,)."""
        y = labels_to_score(y, self.classes)
        mean, log_std = self.posterior(x, y)
        log_likelihood, log_ratio = self.draw(x, y, mean, log_std, self.objective.draws)
        return self.objective(log_likelihood, log_ratio, kl_to_standard_normal(mean, log_std))

    @torch.no_grad()
    def log_prob(self, x: Batch, y: Labels | None = None) -> PerSample:
        """log p(x|z)p(z)/q(z|x) in nats, (b,), for one z from q(z|x); its mean is the ELBO, whatever is trained."""
        y = labels_to_score(y, self.classes)
        log_likelihood, log_ratio = self.draw(x, y, *self.posterior(x, y), 1)
        return (log_likelihood + log_ratio)[0]

    def draw(self, x: Batch, y: Labels | None, mean: Code, log_std: Code, k: int) -> tuple[PerDraw, PerDraw]:
        """log p(x|z) and log p(z)/q(z|x) in nats, each (k, b), for k draws of z from q(z|x)."""
        b, d = mean.shape
        noise = torch.randn(b, k, d, device=mean.device, dtype=mean.dtype).transpose(0, 1)
        z = mean + log_std.exp() * noise  # (k, b, d)
        log_ratio = (noise.square() - z.square()).sum(2) / 2 + log_std.sum(1)
        params = self.decoder(z.flatten(0, 1), None if y is None else y.repeat(k))
        return self.likelihood.log_prob(params, x.repeat(k, *[1] * (x.ndim - 1))).view(k, -1), log_ratio

    @torch.no_grad()
    def sample(self, n: int, y: Labels | None = None, rng: Random = GLOBAL) -> Batch:
        """x from p(x|z) with z from p(z), (n, c, h, w): a draw, pixel noise included."""
        y = labels_to_sample(n, y, self.classes, self.origin.device, rng)
        z = rng.normal((n, self.latent_dim), self.origin.device).to(self.origin)
        return self.likelihood.sample(self.decoder(z, y), rng)

    @torch.no_grad()
    def encode(self, x: Batch, y: Labels | None = None) -> Code:
        """Mean of q(z|x), (b, d)."""
        return self.posterior(x, labels_to_score(y, self.classes))[0]

    @torch.no_grad()
    def decode(self, z: Code, y: Labels | None = None) -> Batch:
        """Mode of p(x|z), (b, c, h, w)."""
        return self.likelihood.mode(self.decoder(z, labels_to_score(y, self.classes)))

    def posterior(self, x: Batch, y: Labels | None) -> tuple[Code, Code]:
        """Mean and log-std of q(z|x), float32, each (b, d)."""
        mean, log_std = self.encoder(to_unit(x, self.likelihood.levels), y).float().chunk(2, dim=1)
        return mean, log_std.clamp(*LOG_STD)


def kl_to_standard_normal(mean: Code, log_std: Code) -> PerSample:
    """KL(N(mean, std²) | N(0, I)) in nats, (b,) (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(1) / 2
