"""Variational autoencoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114; Rezende et al. 2014,
https://arxiv.org/abs/1401.4082): encoder, posterior, prior, decoder, likelihood and objective."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from genmodels.capabilities import (
    NO_CONDITION,
    Batch,
    Bound,
    Clock,
    Compresses,
    Condition,
    Encodes,
    FollowsClock,
    HasLikelihood,
    HasLoss,
    PerSample,
    Sampler,
    Samples,
    Terms,
)
from genmodels.context import NO_CONTEXT, Conditioner, Context
from genmodels.fields import Field, require_samples
from genmodels.nn.shapes import Maps, PerDraw
from genmodels.nn.vae.encoders import Encoder
from genmodels.parts.likelihoods import PixelLikelihood
from genmodels.parts.objectives import Objective
from genmodels.parts.posteriors import LatentVector, Posterior, PosteriorParams, mean_and_log_std
from genmodels.parts.priors import Prior
from genmodels.ranges import PositiveInt
from genmodels.samplers.direct import Direct
from genmodels.seeds import GLOBAL, Random
from genmodels.trees import repeat
from genmodels.units import to_unit


class VAE(nn.Module, HasLoss, Samples, HasLikelihood, Encodes, Compresses, FollowsClock):
    """z from the prior, x from the likelihood with decoder(z); q(z|x) is the posterior with encoder(x). In a
    conditional model, encoder and decoder have the condition; the prior does not."""

    bound: Bound = "elbo"
    samplers = (Direct,)
    steered_by = ("temperature",)  # the temperature of the prior

    def __init__(
        self,
        *,
        conditioner: Conditioner,
        encoder: Encoder,  # x (b, c, h, w) on [-1, 1] and context -> the posterior's numbers
        decoder: nn.Module,  # z (b, d) and context -> parameters of the likelihood
        posterior: Posterior,
        prior: Prior,
        likelihood: PixelLikelihood,
        objective: Objective,
        latent_dim: PositiveInt,  # d
        sampler: Sampler,
    ):
        super().__init__()
        prior.check(posterior)
        self.conditioner = conditioner
        self.encoder = encoder
        self.decoder = decoder
        self.posterior = posterior
        self.prior = prior
        self.likelihood = likelihood
        self.objective = objective
        self.latent_dim = latent_dim
        self.condition = conditioner.fields
        self.x = Field("image", encoder.shape, likelihood.levels)
        self.code = Field("points" if len(encoder.latent_shape) == 1 else "image", encoder.latent_shape, None)
        self.lacks = {Compresses: "its codes depend on a condition"} if self.condition else {}
        self.use(sampler)

    # Training and scoring

    def at(self, clock: Clock) -> None:
        self.objective.at(clock)

    def loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """The objective over its draws of z; `rate` is KL(q(z|x) | p(z)), `distortion` -E_q[log p(x|z)]; nats, (b,)."""
        context = self.context(x, condition)
        params = self.encoded(x, context)
        log_likelihood, log_ratio = self.draw(x, context, params, self.objective.draws)
        kl = self.prior.kl(self.posterior, params)
        return self.objective(log_likelihood, log_ratio, -log_ratio.mean(0) if kl is None else kl)

    @torch.no_grad()
    def log_prob(
        self, x: Batch, condition: Condition = NO_CONDITION, *, draws: int | None = None
    ) -> Float[Tensor, "*draws b"]:
        """log p(x|z)p(z)/q(z|x) in nats for `draws` z from q(z|x); its mean is the ELBO for every objective."""
        require_samples(x, self.x)
        context = self.context(x, condition)
        log_likelihood, log_ratio = self.draw(x, context, self.encoded(x, context), draws or 1)
        log_weight = log_likelihood + log_ratio
        return log_weight[0] if draws is None else log_weight

    def draw(self, x: Batch, context: Context, params: PosteriorParams, k: int) -> tuple[PerDraw, PerDraw]:
        """log p(x|z) and log p(z)/q(z|x) in nats, each (k, b), for k draws of z from q(z|x)."""
        assert isinstance(x, Tensor)
        z, log_q = self.posterior.draw(params, k)
        log_ratio = self.prior.log_prob(z, self.gaussian_at) - log_q
        likelihood_params = self.decoder(z.flatten(0, 1), context.repeat(k))
        return self.likelihood.log_prob(likelihood_params, repeat(x, k)).view(k, -1), log_ratio

    def context(self, x: Batch, condition: Condition) -> Context:
        return self.conditioner(self.conditioner.given(condition, len(x)))

    def encoded(self, x: Batch, context: Context) -> PosteriorParams:
        """The posterior's numbers, float32."""
        assert isinstance(x, Tensor)
        return self.encoder(to_unit(x, self.likelihood.levels), context).float().flatten(1)

    def gaussian_at(self, images: Maps) -> tuple[LatentVector, LatentVector]:
        """Mean and log-std of q(z|image) without a condition, for priors that need them."""
        params = self.encoder(images, self.conditioner.absent(len(images))).float().flatten(1)
        return mean_and_log_std(params)

    # Sampling

    @torch.no_grad()
    def sample(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Integer[Tensor, "n c h w"]:
        """x from p(x|z) with z from p(z), (n, c, h, w): drawn with pixel noise."""
        context = self.conditioner(self.conditioner.given_or_drawn(condition, n, rng))
        assert isinstance(self.sampler, Direct)
        z = self.prior.sample(n, rng, self.sampler.temperature, self.gaussian_at)
        return self.likelihood.sample(self.decoder(z, context), rng)

    # Codes

    @torch.no_grad()
    def encode(self, x: Batch, condition: Condition = NO_CONDITION) -> LatentVector:
        """Mean of q(z|x), (b, d); for a planar posterior, the draw without noise."""
        return self.posterior.center(self.encoded(x, self.context(x, condition)))

    @torch.no_grad()
    def decode(self, z: LatentVector, condition: Condition = NO_CONDITION) -> Batch:
        """Mode of p(x|z), (b, c, h, w)."""
        return self.likelihood.mode(self.decoder(z, self.conditioner(self.conditioner.given(condition, len(z)))))

    @torch.no_grad()
    def compress(self, x: Batch, rng: Random = GLOBAL) -> tuple[Float[Tensor, " b *code"], PerSample]:
        """A draw z from q(z|x), and log p(x|z)/q(z|x) in nats."""
        assert isinstance(x, Tensor)
        z, log_q = self.posterior.draw(self.encoded(x, NO_CONTEXT), 1, rng)
        log_likelihood = self.likelihood.log_prob(self.decoder(z[0], NO_CONTEXT), x)
        return z[0].view(len(z[0]), *self.code.shape), log_likelihood - log_q[0]

    @torch.no_grad()
    def decompress(self, u: Float[Tensor, " b *code"], rng: Random = GLOBAL) -> Batch:
        """x from p(x|z)."""
        return self.likelihood.sample(self.decoder(u.flatten(1), NO_CONTEXT), rng)
