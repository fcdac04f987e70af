"""Variational autoencoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114; Rezende et al. 2014,
https://arxiv.org/abs/1401.4082), with the weight beta on its rate (Higgins et al. 2017,
https://openreview.net/forum?id=Sy2fzU9gl)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import Batch, Encodes, HasLikelihood, HasLoss, Labels, PerSample, Samples, Terms
from genmodels.nn.labels import labels_to_sample, labels_to_score
from genmodels.nn.likelihoods import PixelLikelihood
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
        latent_dim: int,  # d
        beta: float | int,  # weight of the rate; 1 trains the ELBO itself
        conditional: bool,
        classes: int | None,
    ):
        super().__init__()
        assert conditional == (classes is not None)
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.latent_dim = latent_dim
        self.beta = beta
        self.classes = classes
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    def loss(self, x: Batch, y: Labels | None = None) -> Terms:
        """-E_q[log p(x|z)] + beta KL(q(z|x) | p(z)) by one draw of z; distortion, rate: its two terms, nats, (b,)."""
        y = labels_to_score(y, self.classes)
        mean, log_std = self.posterior(x, y)
        z = mean + log_std.exp() * torch.randn_like(mean)
        distortion = -self.likelihood.log_prob(self.decoder(z, y), x)
        rate = kl_to_standard_normal(mean, log_std)
        return {"loss": distortion + self.beta * rate, "rate": rate, "distortion": distortion}

    @torch.no_grad()
    def log_prob(self, x: Batch, y: Labels | None = None) -> PerSample:
        """log p(x|z)p(z)/q(z|x) in nats, (b,), for one z drawn from q(z|x); its mean is the ELBO, whatever beta."""
        y = labels_to_score(y, self.classes)
        mean, log_std = self.posterior(x, y)
        noise = torch.randn_like(mean)
        z = mean + log_std.exp() * noise
        log_ratio = (noise.square() - z.square()).sum(1) / 2 + log_std.sum(1)  # log p(z) - log q(z|x)
        return self.likelihood.log_prob(self.decoder(z, y), x) + log_ratio

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
