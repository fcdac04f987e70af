"""Vector quantization: each vector is replaced by the nearest vector of a codebook (van den Oord et al. 2017,
https://arxiv.org/abs/1711.00937). A code's vector is the moving average of the vectors assigned to it (appendix A.1).

Sums are over all processes, so that all have the same codebook. A code that is hardly used restarts from a vector of
the batch (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, appendix A).
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
from genmodels.nn.shapes import CodeMaps, LatentMaps
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore

EPSILON = 1e-5  # in the smoothing of counts
FAR_APART = 2_654_435_761  # a prime near 2³²/golden ratio, whose multiples are spread evenly (Knuth)


class Quantized(NamedTuple):
    """A batch of vectors after quantization."""

    codes: CodeMaps
    maps: LatentMaps  # the codebook's vectors, with straight-through gradients
    distance: PerSample  # mean over places of |vector - code's vector|², with gradients to the vectors
    perplexity: Float[Tensor, ""]  # exp of the entropy of the codes' frequencies: their effective number


class EMACodebook(nn.Module):
    """K vectors in D dimensions; in training `forward` updates them."""

    codebook: Tensor  # (K, D)
    counts: Tensor  # (K,), moving averages of the vectors per batch assigned to each code
    sums: Tensor  # (K, D), moving averages of their sums
    updates: Tensor  # int64 (), number of updates so far

    def __init__(
        self,
        *,
        codes: TwoOrMore,  # K
        dim: PositiveInt,  # D
        decay: ProbabilityBelowOne,  # of the moving averages
        restart_below: ProbabilityBelowOne,  # a code restarts below this part of the mean count per code; 0: never
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

    def forward(self, maps: LatentMaps) -> Quantized:
        """The nearest code for each place's vector, in float32; in training this then updates the codebook."""
        with torch.autocast(maps.device.type, enabled=False):
            maps = maps.float()
            codes = self.nearest(maps)
            nearest = self.look_up(codes)
            distance = (maps - nearest).square().sum(1).mean((1, 2))
            used = one_hot(codes.flatten(), self.codes).float()  # (n, K)
            if self.training:
                self.follow(maps.detach().movedim(1, 3), used)
            return Quantized(codes, maps + (nearest - maps).detach(), distance, perplexity(used.mean(0)))

    def nearest(self, maps: LatentMaps) -> CodeMaps:
        """argmin over the codes of |vector - code's vector|²."""
        vectors = maps.float().movedim(1, 3)  # (b, h, w, D)
        distance = self.codebook.square().sum(1) - 2 * vectors @ self.codebook.T  # without the constant |vector|²
        return distance.argmin(3)

    def look_up(self, codes: Integer[Tensor, "b h w"]) -> LatentMaps:
        """The codebook's vectors, (b, D, h, w)."""
        return self.codebook[codes.long()].movedim(3, 1)

    @torch.no_grad()
    def follow(self, vectors: Float[Tensor, "b h w d"], used: Float[Tensor, "n k"]) -> None:
        """Updates averages and codebook from a batch; codes that are hardly used restart from its vectors."""
        others = self.chosen(vectors)
        batch = torch.cat([used.sum(0)[:, None], used.T @ vectors.flatten(0, 2), others], dim=1)  # (K, 1 + 2 D)
        if processes()[1] > 1:
            dist.all_reduce(batch)
        counts, sums, others = batch.split([1, self.dim, self.dim], dim=1)
        self.counts.lerp_(counts[:, 0], 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        least = self.restart_below * self.counts.mean()
        unused = self.counts < least
        self.counts.copy_(torch.where(unused, least, self.counts))  # without a use in the next batch it restarts again
        self.sums.copy_(torch.where(unused[:, None], least * others, self.sums))
        total = self.counts.sum()
        smoothed = (self.counts + EPSILON) / (total + self.codes * EPSILON) * total
        self.codebook.copy_(self.sums / smoothed[:, None])
        self.updates += 1

    def chosen(self, vectors: Float[Tensor, "b h w d"]) -> Float[Tensor, "k d"]:
        """K vectors of the global batch, different ones at every update; vectors of other processes are 0. The choice
        depends only on the batch's size and `updates` (the order of a batch is random) and needs no synchronization."""
        rank, world = processes()
        b, h, w, _ = vectors.shape
        n = b * world * h * w
        numbers = self.updates * self.codes + torch.arange(self.codes, device=vectors.device)
        index = numbers % n * FAR_APART % n  # all different, if there are enough vectors
        sample, place = index // (h * w), index % (h * w)
        mine = vectors[sample // world, place // w, place % w]  # process `rank` holds every `world`-th sample
        return torch.where((sample % world == rank)[:, None], mine, 0)


def perplexity(p: Float[Tensor, " k"]) -> Float[Tensor, ""]:
    """exp of the entropy of a distribution."""
    return torch.special.entr(p).sum().exp()
