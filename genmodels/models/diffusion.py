"""Denoising diffusion (DDPM: Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239).

The paper's x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise is what the network sees. Everywhere else x is
x_t/sqrt(alpha_bar_t) = x_0 + sigma noise with sigma² = (1 - alpha_bar_t)/alpha_bar_t (the scale of Karras et al.
2022, https://arxiv.org/abs/2206.00364), in which a diffusion model is a denoiser D(x, sigma) and samplers need
nothing else. Indices t count from 0, the paper's from 1.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor, nn

from genmodels.capabilities import Denoises, HasLikelihood, HasLoss, Labels, PerSample, Sampler, Samples, Terms
from genmodels.nn import discretized_gaussian
from genmodels.nn.labels import labels_to_sample, labels_to_score
from genmodels.nn.schedules import Schedule
from genmodels.samplers.ancestral import Variance, reverse_variance
from genmodels.seeds import GLOBAL, Random
from genmodels.units import quantize, to_unit

Image = Float[Tensor, "b c h w"]
Pixels = UInt8[Tensor, "b c h w"]


class DDPM(nn.Module, HasLoss, Samples, HasLikelihood, Denoises):
    """T steps of Gaussian noise, undone by a network that predicts the noise."""

    bound = "vlb"
    sigma: Tensor  # (T,), increasing
    kl_excess: Tensor  # (T,), nats per dimension
    kl_weight: Tensor  # (T,), nats per squared error

    def __init__(
        self,
        *,
        shape: Sequence[int],  # (c, h, w) of an image
        levels: int,
        classes: int | None,
        conditional: bool,
        network: nn.Module,  # net(x_t, t, y): (b, c, h, w), (b,), (b,) or None -> noise (b, c, h, w)
        schedule: Schedule,
        objective: Literal["simple", "variational"],
        variance: Variance,  # of the reverse process whose bound `log_prob` is
        sampler: Sampler,
    ):
        super().__init__()
        assert conditional == (classes is not None)
        self.shape, self.levels, self.classes = tuple(shape), levels, classes
        self.network = network
        self.schedule = schedule
        self.objective = objective
        self.sampler = sampler

        sigma = schedule.sigmas()
        excess, weight = kl_terms(sigma, variance)
        self.register_buffer("sigma", sigma.float(), persistent=False)
        self.register_buffer("kl_excess", excess.float(), persistent=False)
        self.register_buffer("kl_weight", weight.float(), persistent=False)
        self.decoder_std = decoder_std(sigma)

    def loss(self, x: Pixels, y: Labels | None = None) -> Terms:
        """At one uniform t: "simple" is the noise's mean squared error per dimension (eq. 14), "variational" T
        times the bound's term (eq. 5), an unbiased estimate of the bound without its constant, in nats per image.
        The estimate of x_0 is clipped as in the bound, while the gradient passes as if it were not.
        """
        y = labels_to_score(y, self.classes)
        x0 = to_unit(x, self.levels)
        t = torch.randint(self.schedule.steps, (len(x),), device=x.device)
        eps = torch.randn_like(x0)
        sigma = column(self.sigma[t])
        x_t = x0 + sigma * eps
        eps_theta = self.eps_theta(x_t, sigma, t, y)
        x0_hat = clip_forward(x_t - sigma * eps_theta)
        first = t == 0
        near = torch.where(column(first), x0_hat, x0)  # elsewhere the decoder's gradient overflows, and 0 inf is nan
        nats = torch.where(first, self.decoder_nats(x0, near), self.kl(x0, x0_hat, t))
        terms = {"simple": per_sample(eps - eps_theta).square().mean(1), "variational": self.schedule.steps * nats}
        return {"loss": terms[self.objective]} | {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def log_prob(self, x: Pixels, y: Labels | None = None) -> PerSample:
        """A draw of the variational bound (eq. 5), all T terms: one noise per term, drawn from t = T-1 to 0."""
        y = labels_to_score(y, self.classes)
        x0 = to_unit(x, self.levels)
        nats = [self.prior_nats(x0)]
        for t in reversed(range(self.schedule.steps)):
            sigma = self.sigma[t]
            x0_hat = self.denoise(x0 + sigma * torch.randn_like(x0), sigma, y)
            nats.append(self.kl(x0, x0_hat, t) if t > 0 else self.decoder_nats(x0, x0_hat))
        return -torch.stack(nats).sum(0)

    @torch.no_grad()
    def sample(self, n: int, y: Labels | None = None, rng: Random = GLOBAL) -> UInt8[Tensor, "n c h w"]:
        for x0 in self.estimates(n, y, rng):
            last = x0
        return quantize(last, self.levels)

    @torch.no_grad()
    def film(self, n: int, y: Labels | None = None, rng: Random = GLOBAL) -> Iterator[UInt8[Tensor, "n c h w"]]:
        for x0 in self.estimates(n, y, rng):
            yield quantize(x0, self.levels)

    def estimates(self, n: int, y: Labels | None, rng: Random) -> Iterator[Float[Tensor, "n c h w"]]:
        """The sampler's estimates of x_0 on [-1, 1], from x_T ~ N(0, I) on."""
        y = labels_to_sample(n, y, self.classes, self.sigma.device, rng)
        sigmas = self.schedule.sigmas()
        noise = rng.normal((n, *self.shape), self.sigma.device) * (1 + sigmas[-1] ** 2).sqrt()
        return self.sampler(partial(self.denoise, y=y), noise, sigmas, rng)

    def denoise(self, x: Image, sigma: Float[Tensor, "*b"], y: Labels | None) -> Image:
        """D(x, sigma), x_0's estimate clipped to [-1, 1], for x = x_0 + sigma noise and sigma of shape () or (b,)."""
        sigma = sigma.to(self.sigma).expand(len(x)).contiguous()
        return (x - column(sigma) * self.eps_theta(x, column(sigma), self.time(sigma), y)).clamp(-1, 1)

    def eps_theta(self, x: Image, sigma: Float[Tensor, "b 1 1 1"], t: Shaped[Tensor, "b"], y: Labels | None) -> Image:
        """epsilon_theta(x_t, t) in float32."""
        return self.network(x / (1 + sigma**2).sqrt(), t, y).float()

    def time(self, sigma: PerSample) -> PerSample:
        """The t of each sigma, whole for those of training, between them linear in log sigma."""
        i = torch.searchsorted(self.sigma, sigma).clamp(1, len(self.sigma) - 1)
        low, high = self.sigma[i - 1].log(), self.sigma[i].log()
        return (i - 1 + (sigma.log() - low) / (high - low)).clamp(0, len(self.sigma) - 1)

    def prior_nats(self, x0: Image) -> PerSample:
        """L_T: KL of q(x_T|x_0) from N(0, I), in nats."""
        variance = self.sigma[-1] ** 2  # 1 - alpha_bar = variance/(1 + variance)
        return per_sample((x0**2 - 1) / (1 + variance) + torch.log1p(1 / variance)).sum(1) / 2

    def kl(self, x0: Image, x0_hat: Image, t: Int[Tensor, "b"] | int) -> PerSample:
        """L_t of t > 0: KL of q(x_{t-1}|x_t, x_0) from p(x_{t-1}|x_t), in nats; 0 for t = 0."""
        error = per_sample(x0 - x0_hat).square()
        return error.sum(1) * self.kl_weight[t] + error.shape[1] * self.kl_excess[t]

    def decoder_nats(self, x0: Image, x0_hat: Image) -> PerSample:
        """L_0: -log p(x_0|x_1), in nats."""
        return -per_sample(discretized_gaussian.log_prob(x0, x0_hat, self.decoder_std, self.levels)).sum(1)


def kl_terms(sigma: Float[Tensor, "t"], variance: Variance) -> tuple[Float[Tensor, "t"], Float[Tensor, "t"]]:
    """(excess, weight) such that a dimension's KL at index t is excess[t] + weight[t] (x_0 - x0_hat)²; 0 at t = 0.

    Of N(m, v) with v = "small" from N(m_hat, w) with w = `variance`, m - m_hat = (1 - s²/sigma²)(x_0 - x0_hat).
    """
    s, sigma = sigma[:-1], sigma[1:]
    v, w = reverse_variance(sigma, s, "small"), reverse_variance(sigma, s, variance)
    excess = ((w / v).log() + v / w - 1) / 2
    weight = (1 - s**2 / sigma**2) ** 2 / (2 * w)
    return torch.cat([s.new_zeros(1), excess]), torch.cat([s.new_zeros(1), weight])


def decoder_std(sigma: Float[Tensor, "t"]) -> float:
    """Standard deviation of p(x_0|x_1): that of q(x_1|x_2, x_0), as in the paper's code, for q's own is 0."""
    v = reverse_variance(sigma[1], sigma[0], "small") / (1 + sigma[0] ** 2)
    return v.sqrt().item()


def clip_forward(x0_hat: Image) -> Image:
    """`x0_hat` clipped to [-1, 1], with the gradient of the identity, so that what is clipped goes on learning."""
    return x0_hat + (x0_hat.clamp(-1, 1) - x0_hat).detach()


def column(v: Shaped[Tensor, "b"]) -> Shaped[Tensor, "b 1 1 1"]:
    """One number per image, to go with the image."""
    return v[:, None, None, None]


def per_sample(x: Image) -> Float[Tensor, "b chw"]:
    """Each image's numbers in a row."""
    return x.flatten(1)
