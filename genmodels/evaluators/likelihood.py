"""Negative log-likelihood of held-out data, in nats per sample and, for discrete data, in bits per dimension.

Where a draw of `log_prob` is an importance weight, the log-mean-exp of several draws is the
importance bound (Burda et al. 2016, https://arxiv.org/abs/1509.00519); other draws are averaged.
"""

from collections.abc import Iterator
from math import log, prod
from typing import ClassVar, cast

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from genmodels.capabilities import Batch, HasLikelihood, Labels
from genmodels.errors import Fault, UserError
from genmodels.evaluators.base import DataMetric, Mode
from genmodels.evaluators.dataset import Data
from genmodels.evaluators.distributed import rank_and_world, total
from genmodels.evaluators.results import Progress, Record
from genmodels.seeds import seeded
from genmodels.units import bits_per_dim


class Likelihood(DataMetric):
    """Mean negative log-likelihood over a split, with its standard error in the protocol.

    Processes share whole batches, and batch number i has its own random numbers, so that the
    result is the same on one process and on many.
    """

    requires: ClassVar[type] = HasLikelihood
    mode: ClassVar[Mode] = "min"

    def __init__(
        self,
        *,
        draws: int,  # of log_prob per sample
        max_samples: int | None,  # the first so many of the split; null: all
        batch: int,  # samples times draws that the model is given at once
    ):
        self.draws = draws
        self.max_samples = max_samples
        self.batch = batch

    def primary(self, features: str, levels: int | None) -> str:
        return "nll_nats" if levels is None else "bits_per_dim"

    def measure(
        self, model: nn.Module, data: Data, split: str, *, seed: int, device: torch.device, progress: Progress
    ) -> list[Record]:
        """bits_per_dim (discrete data only), nll_nats, and elbo_nats beside an importance bound.

        `elbo_nats` is the bound itself, E log p(x, z)/q(z|x) <= log p(x), not its negative.
        """
        scorer = cast(HasLikelihood, model)
        tight = scorer.bound == "elbo" and self.draws > 1
        n, mean, error = self.statistics(scorer, data, split, seed, device, progress)
        nll, sem = -mean[int(tight)], error[int(tight)]  # nats
        protocol = {
            "reference": f"{data.name}/{split}",
            "n_reference": n,
            "reference_fingerprint": data.fingerprint(split),
            "bound": "iwae" if tight else scorer.bound,
            "draws": self.draws,
        }

        def record(metric: str, value: float, error: float, **other: str) -> Record:
            about = protocol | {"standard_error": error} | other
            return Record(metric=metric, split=split, value=value, std=None, protocol=about)

        dims = prod(data.shape)
        bits = [record("bits_per_dim", bits_per_dim(nll, dims), bits_per_dim(sem, dims))]
        elbo = [record("elbo_nats", mean[0], error[0], bound="elbo")]
        return bits * (data.levels is not None) + [record("nll_nats", nll, sem)] + elbo * tight

    def statistics(
        self, model: HasLikelihood, data: Data, split: str, seed: int, device: torch.device, progress: Progress
    ) -> tuple[int, list[float], list[float]]:
        """How many samples, and means and standard errors of what `scores` gives for each."""
        x, y = data.split(split)
        x = x[: self.max_samples]
        if not len(x):
            raise UserError(f"{data.name} has no samples in its {split} split, expected at least 1: choose another")
        s = torch.zeros(2, 2, dtype=torch.float64, device=device)
        for done, v in self.scores(model, x, y, seed, device):
            s += torch.stack([v.sum(0), v.square().sum(0)])
            progress("likelihood", done, len(x))
        n, (total_v, total_square) = len(x), total(s)
        mean = total_v / n
        error = ((total_square - n * mean.square()).clamp(min=0) / max(n - 1, 1) / n).sqrt()
        return n, mean.tolist(), error.tolist()

    @torch.no_grad()
    def scores(
        self, model: HasLikelihood, x: Tensor, y: Tensor | None, seed: int, device: torch.device
    ) -> Iterator[tuple[int, Float64[Tensor, "b 2"]]]:
        """This process's batches: how far it has come in `x`, and mean and log-mean-exp of the draws, in nats."""
        rank, world = rank_and_world()
        for start in range(rank * self.batch, len(x), world * self.batch):
            part = slice(start, min(start + self.batch, len(x)))
            with seeded(seed, start // self.batch):
                v = self.score(model, x[part].to(device), None if y is None else y[part].to(device))
            if v.isnan().any():
                raise Fault(f"log_prob gave NaN for samples {part.start} to {part.stop - 1}: check the model's weights")
            yield part.stop, v

    def score(self, model: HasLikelihood, x: Batch, y: Labels | None) -> Float64[Tensor, "b 2"]:
        """Mean and log-mean-exp of the draws of log p(x), as many at once as fit into a batch."""
        b = len(x)
        mean = torch.zeros(b, dtype=torch.float64, device=x.device)
        log_sum = torch.full_like(mean, -torch.inf)
        for k in chunks(self.draws, max(1, self.batch // b)):
            w = model.log_prob(repeat(x, k), None if y is None else repeat(y, k)).double().view(k, b)
            mean += w.sum(0) / self.draws
            log_sum = torch.logaddexp(log_sum, w.logsumexp(0))
        return torch.stack([mean, log_sum - log(self.draws)], dim=1)


def chunks(n: int, size: int) -> list[int]:
    """n as a sum of `size`, `size`, ... and a rest: chunks(7, 3) is [3, 3, 1]."""
    return [min(size, n - start) for start in range(0, n, size)]


def repeat(x: Tensor, k: int) -> Tensor:
    """(b, ...) to (k b, ...): the whole batch, k times."""
    return x.repeat(k, *[1] * (x.ndim - 1))
