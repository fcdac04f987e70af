"""Normalizing flow: bijections and a base density (Dinh et al. 2017, https://arxiv.org/abs/1605.08803)."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.capabilities import Batch, Bound, Encodes, HasLikelihood, HasLoss, Labels, PerSample, Samples, Terms
from genmodels.nn.bijections import Bijection, Chain
from genmodels.nn.densities import Density
from genmodels.nn.labels import labels_to_sample, labels_to_score
from genmodels.seeds import GLOBAL, Random

Noise = Float[Tensor, "b *latent"]


class Flow(nn.Module, HasLoss, Samples, HasLikelihood, Encodes):
    """log p(x) = log p(z) + ladj with z = f(x); where f dequantizes, each call draws a lower bound of it.

    That draw is the log importance weight log p(v)/q(v|x) of one dequantization v, so `bound` is "elbo";
    without dequantization it is "exact".
    """

    def __init__(
        self,
        *,
        conditional: bool,
        classes: int | None,  # labels that the bijections were built with; None: unconditional
        bijections: Mapping[str, Bijection],  # f, first to last, from data units to noise
        base: Density,  # p(z)
    ):
        super().__init__()
        assert conditional == (classes is not None)
        self.classes = classes
        self.f = Chain(bijections.values())
        self.base = base
        self.bound: Bound = "elbo" if self.f.stochastic else "exact"

    def loss(self, x: Batch, y: Labels | None = None) -> Terms:
        """-log p(x) = -(log p(z) + ladj) in nats per sample, with its terms `base` = log p(z) and `ladj`."""
        z, ladj = self.f(x, labels_to_score(y, self.classes))
        base = self.base.log_prob(z)
        return {"loss": -(base + ladj), "base": base, "ladj": ladj}

    @torch.no_grad()
    def log_prob(self, x: Batch, y: Labels | None = None) -> PerSample:
        return -self.loss(x, y)["loss"]

    def likelihood_protocol(self) -> dict[str, str | int | float]:
        return {} if self.f.dequantization is None else {"dequantization": self.f.dequantization}

    @torch.no_grad()
    def sample(self, n: int, y: Labels | None = None, rng: Random = GLOBAL) -> Shaped[Tensor, "n *shape"]:
        z = self.base.sample(n, rng)
        return self.f.inverse(z, labels_to_sample(n, y, self.classes, z.device, rng))

    @torch.no_grad()
    def encode(self, x: Batch, y: Labels | None = None) -> Noise:
        """The noise of each sample, shaped as `x`; of integers, of the middle of their bins."""
        return self.f.encode(x, labels_to_score(y, self.classes))

    @torch.no_grad()
    def decode(self, z: Noise, y: Labels | None = None) -> Batch:
        return self.f.inverse(z, labels_to_score(y, self.classes))
