"""Negative log-likelihood of held-out data, in nats per sample and, for discrete data, in bits per dimension.

Where a draw of `log_prob` is an importance weight, the log-mean-exp of several draws is the
importance bound (Burda et al. 2016, https://arxiv.org/abs/1509.00519); other draws are averaged.
"""

import json
from collections.abc import Iterator, Mapping
from math import log, prod
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from genmodels.capabilities import Batch, HasLikelihood, Labels
from genmodels.errors import Fault, UserError
from genmodels.evaluators.base import DataMetric, Mode, prepared
from genmodels.evaluators.dataset import Data
from genmodels.evaluators.distributed import rank_and_world, total
from genmodels.evaluators.features.precision import float32_convolutions
from genmodels.evaluators.results import Progress, Record
from genmodels.evaluators.shown import NOTHING, Show
from genmodels.seeds import seeded
from genmodels.units import bits_per_dim

PerImage = Float64[Tensor, "n"]


class Likelihood(DataMetric):
    """Mean negative log-likelihood over a split, with its standard error in the protocol.

    Processes share whole batches, and batch number i has its own random numbers, so that the
    result is the same on one process and on many, to the last bit.
    """

    requires: ClassVar[type] = HasLikelihood
    mode: ClassVar[Mode] = "min"

    def __init__(
        self,
        *,
        draws: int,  # of log_prob per sample
        max_samples: int | None,  # the first so many of the split; null: all
        batch: int,  # samples times draws that the model is given at once
        save: str | None,  # an .npz file for the values of every sample; null: none
    ):
        if min(draws, batch, 1 if max_samples is None else max_samples) < 1:
            raise UserError(
                f"the likelihood got draws={draws}, batch={batch} and max_samples={max_samples}, expected at least 1 "
                "of each, or max_samples=null for all"
            )
        if save is not None and Path(save).suffix != ".npz":
            raise UserError(f"the likelihood got save={save}, expected a file that ends in .npz")
        self.draws = draws
        self.max_samples = max_samples
        self.batch = batch
        self.save = None if save is None else Path(save).expanduser()

    def primary(self, features: str, levels: int | None) -> str:
        return "nll_nats" if levels is None else "bits_per_dim"

    def measure(
        self,
        model: nn.Module,
        data: Data,
        split: str,
        *,
        seed: int,
        device: torch.device,
        progress: Progress,
        show: Show = NOTHING,
    ) -> list[Record]:
        """bits_per_dim (discrete data only), nll_nats, and elbo_nats beside an importance bound.

        `elbo_nats` is the bound itself, E log p(x, z)/q(z|x) <= log p(x), not its negative.
        The values of every sample under the first name are shown.
        """
        scorer = cast(HasLikelihood, model)
        x, y = self.held_out(data, split)
        if self.save is not None:
            self.save.parent.mkdir(parents=True, exist_ok=True)  # refused before the work, not after
        mean, tight = self.score_all(scorer, x, y, seed, device, progress).unbind(1)
        importance = scorer.bound == "elbo" and self.draws > 1
        nll = -(tight if importance else mean)
        values = {"bits_per_dim": bits_per_dim(nll, prod(data.shape))} if data.levels is not None else {}
        values |= {"nll_nats": nll} | ({"elbo_nats": mean} if importance else {})
        protocol = {
            "reference": f"{data.name}/{split}",
            "n_reference": len(x),
            "reference_fingerprint": data.fingerprint(split),
            **prepared(data.prepared),
            "bound": "iwae" if importance else scorer.bound,
            "draws": self.draws,
            **({} if scorer.bound == "exact" else {"seeded": f"per batch of {self.batch}"}),
            **scorer.likelihood_protocol(),
        }
        if self.save is not None and rank_and_world()[0] == 0:
            write(self.save, values, y, protocol | {"seed": seed})
        name, of_each = next(iter(values.items()))
        show.values(f"{split}/{name}", of_each)
        return [record(metric, split, v, protocol) for metric, v in values.items()]

    def held_out(self, data: Data, split: str) -> tuple[Tensor, Tensor | None]:
        """The samples that are scored and their labels, where there are any."""
        x, y = data.split(split)
        if not len(x):
            raise UserError(f"{data.name} has no samples in its {split} split, expected at least 1: choose another")
        return x[: self.max_samples], None if y is None else y[: self.max_samples]

    def score_all(
        self, model: HasLikelihood, x: Tensor, y: Tensor | None, seed: int, device: torch.device, progress: Progress
    ) -> Float64[Tensor, "n 2"]:
        """What `score` gives for every sample, from all processes and on all of them, on the CPU."""
        values = torch.zeros(len(x), 2, dtype=torch.float64, device=device)
        for part, v in self.scores(model, x, y, seed, device):
            values[part] = v
            progress("likelihood", part.stop, len(x))
        return total(values).cpu()  # a row is zero on every process but one

    @torch.no_grad()
    def scores(
        self, model: HasLikelihood, x: Tensor, y: Tensor | None, seed: int, device: torch.device
    ) -> Iterator[tuple[slice, Float64[Tensor, "b 2"]]]:
        """This process's batches: where each lies in `x`, and what `score` gives for it."""
        rank, world = rank_and_world()
        for start in range(rank * self.batch, len(x), world * self.batch):
            part = slice(start, min(start + self.batch, len(x)))
            with seeded(seed, start // self.batch), float32_convolutions():
                v = self.score(model, x[part].to(device), None if y is None else y[part].to(device))
            if v.isnan().any():
                raise Fault(f"log_prob gave NaN for samples {part.start} to {part.stop - 1}: check the model's weights")
            yield part, v

    def score(self, model: HasLikelihood, x: Batch, y: Labels | None) -> Float64[Tensor, "b 2"]:
        """Mean and log-mean-exp of the draws of log p(x) in nats, as many draws at once as fit into a batch."""
        b = len(x)
        mean = torch.zeros(b, dtype=torch.float64, device=x.device)
        log_sum = torch.full_like(mean, -torch.inf)
        for k in chunks(self.draws, max(1, self.batch // b)):
            w = model.log_prob(repeat(x, k), None if y is None else repeat(y, k)).double().view(k, b)
            mean += w.sum(0) / self.draws
            log_sum = torch.logaddexp(log_sum, w.logsumexp(0))
        return torch.stack([mean, log_sum - log(self.draws)], dim=1)


def record(metric: str, split: str, values: PerImage, protocol: Mapping[str, Any]) -> Record:
    """The mean, with its standard error in the protocol."""
    about = {**protocol, "standard_error": standard_error(values)}
    if metric == "elbo_nats":
        about["bound"] = "elbo"
    return Record(metric=metric, split=split, value=values.mean().item(), std=None, protocol=about)


def standard_error(values: PerImage) -> float:
    """Of the mean: the standard deviation over samples (n - 1) by the square root of their number; 0 for one sample."""
    n = len(values)
    return (values.std() / n**0.5).item() if n > 1 else 0.0


def write(file: Path, values: Mapping[str, PerImage], y: Tensor | None, protocol: Mapping[str, Any]) -> None:
    """The metrics of each sample under their names, labels `y` and `index` in the split's order, `protocol` as JSON."""
    arrays: dict[str, Any] = {name: v.numpy() for name, v in values.items()}
    arrays["index"] = np.arange(len(values["nll_nats"]))
    arrays["protocol"] = json.dumps(dict(protocol))
    if y is not None:
        arrays["y"] = y.cpu().numpy()
    unfinished = file.with_suffix(".tmp.npz")
    np.savez_compressed(unfinished, **arrays)
    unfinished.replace(file)


def chunks(n: int, size: int) -> list[int]:
    """n as a sum of `size`, `size`, ... and a rest: chunks(7, 3) is [3, 3, 1]."""
    return [min(size, n - start) for start in range(0, n, size)]


def repeat(x: Tensor, k: int) -> Tensor:
    """(b, ...) to (k b, ...): the whole batch, k times."""
    return x.repeat(k, *[1] * (x.ndim - 1))
