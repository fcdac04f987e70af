"""Vector quantization: each vector becomes the nearest of a codebook (van den Oord et al. 2017,
https://arxiv.org/abs/1711.00937), whose vectors follow those that they stand for as moving averages (appendix A.1).

What is averaged is summed over all processes, so that all have the same codebook. A code that is hardly used begins
again at a vector of the batch (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, appendix A).
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.nn.functional import one_hot

from genmodels.capabilities import PerSample
from genmodels.errors import UserError
from genmodels.gathering import processes
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore

Maps = Float[Tensor, "b d h w"]
Codes = Integer[Tensor, "b h w"]

EPSILON = 1e-5  # of the smoothing of counts
FAR_APART = 2_654_435_761  # a prime near 2³²/golden ratio, whose multiples are spread evenly (Knuth)


class Quantized(NamedTuple):
    """What became of a batch of vectors."""

    codes: Codes
    maps: Maps  # the codebook's vectors, with the gradient of the vectors that they stand for
    distance: PerSample  # mean over the places of |vector - code's vector|², with gradient to the vectors
    perplexity: Float[Tensor, ""]  # exp of the entropy of the codes' use: how many are in use, in effect


class EMACodebook(nn.Module):
    """K vectors in D dimensions; in training `forward` moves them."""

    codebook: Tensor  # (K, D)
    counts: Tensor  # (K,), moving averages of how many vectors a batch has for each code
    sums: Tensor  # (K, D), of their sums
    updates: Tensor  # int64 (), how many there have been

    def __init__(
        self,
        *,
        codes: TwoOrMore,  # K
        dim: PositiveInt,  # D
        decay: ProbabilityBelowOne,  # of the moving averages
        restart_below: ProbabilityBelowOne,  # share of a mean code's vectors below which a code begins again; 0: never
    ):
        super().__init__()
        if codes < 2 or dim < 1:
            raise UserError(f"model.quantizer has {codes} codes of {dim} dimensions, expected at least 2 and 1")
        if not (0 <= decay < 1 and 0 <= restart_below < 1):
            raise UserError(
                f"model.quantizer.decay is {decay} and restart_below {restart_below}, expected numbers in [0, 1)"
            )
        self.codes, self.dim, self.decay, self.restart_below = codes, dim, decay, restart_below
        self.register_buffer("codebook", torch.randn(codes, dim))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, dim))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, maps: Maps) -> Quantized:
        """The nearest codes of each place's vector; in training the codebook then follows the vectors. In float32."""
        with torch.autocast(maps.device.type, enabled=False):
            maps = maps.float()
            codes = self.nearest(maps)
            nearest = self.look_up(codes)
            distance = (maps - nearest).square().sum(1).mean((1, 2))
            used = one_hot(codes.flatten(), self.codes).float()  # (n, K)
            if self.training:
                self.follow(maps.detach().movedim(1, 3), used)
            return Quantized(codes, maps + (nearest - maps).detach(), distance, perplexity(used.mean(0)))

    def nearest(self, maps: Maps) -> Codes:
        """argmin over the codes of |vector - code's vector|²."""
        vectors = maps.float().movedim(1, 3)  # (b, h, w, D)
        distance = self.codebook.square().sum(1) - 2 * vectors @ self.codebook.T  # but for |vector|², the same for all
        return distance.argmin(3)

    def look_up(self, codes: Integer[Tensor, "b h w"]) -> Maps:
        """The codebook's vectors, (b, D, h, w)."""
        return self.codebook[codes.long()].movedim(3, 1)

    @torch.no_grad()
    def follow(self, vectors: Float[Tensor, "b h w d"], used: Float[Tensor, "n k"]) -> None:
        """Moves the averages by a batch, the codebook to their ratio, and codes that are hardly used to its vectors."""
        others = self.chosen(vectors)
        batch = torch.cat([used.sum(0)[:, None], used.T @ vectors.flatten(0, 2), others], dim=1)  # (K, 1 + 2 D)
        if processes()[1] > 1:
            dist.all_reduce(batch)
        counts, sums, others = batch.split([1, self.dim, self.dim], dim=1)
        self.counts.lerp_(counts[:, 0], 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        least = self.restart_below * self.counts.mean()
        unused = self.counts < least
        self.counts.copy_(torch.where(unused, least, self.counts))  # unless it is used next, it begins again
        self.sums.copy_(torch.where(unused[:, None], least * others, self.sums))
        total = self.counts.sum()
        smoothed = (self.counts + EPSILON) / (total + self.codes * EPSILON) * total
        self.codebook.copy_(self.sums / smoothed[:, None])
        self.updates += 1

    def chosen(self, vectors: Float[Tensor, "b h w d"]) -> Float[Tensor, "k d"]:
        """K vectors of the global batch, whose order is random, others at every update; those that other processes
        hold are 0. They depend on the batch and on `updates` alone, without waiting for the device."""
        rank, world = processes()
        b, h, w, _ = vectors.shape
        n = b * world * h * w
        numbers = self.updates * self.codes + torch.arange(self.codes, device=vectors.device)
        index = numbers % n * FAR_APART % n  # of all different vectors, where there are as many
        sample, place = index // (h * w), index % (h * w)
        mine = vectors[sample // world, place // w, place % w]  # process `rank` holds every `world`-th sample
        return torch.where((sample % world == rank)[:, None], mine, 0)


def perplexity(p: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """exp of the entropy of a distribution."""
    return torch.special.entr(p).sum().exp()
