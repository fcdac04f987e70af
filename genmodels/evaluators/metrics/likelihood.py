"""Negative log-likelihood of held-out data, in nats per sample and, for discrete data, in bits per dimension.

If a draw of `log_prob` is an importance weight, the log-mean-exp of several draws is the
importance bound (Burda et al. 2016, https://arxiv.org/abs/1509.00519); other draws are averaged.
For a conditional model it is -log p(x|condition), under separate names: it is not comparable to -log p(x).
"""

from collections.abc import Iterator, Mapping
from math import log
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from genmodels.capabilities import Batch, Condition, HasLikelihood, why_not
from genmodels.disk.atomic import replacing, require_writable
from genmodels.disk.strict_json import dumps
from genmodels.errors import Fault, UserError
from genmodels.evaluators.base import Evaluator, preparation_protocol
from genmodels.evaluators.conditions import conditions_of, given
from genmodels.evaluators.dataset import dims, has_levels
from genmodels.evaluators.distributed import rank_and_world, total
from genmodels.evaluators.features.precision import float32_convolutions
from genmodels.evaluators.results import Mode, Record
from genmodels.evaluators.subject import Procedure, Subject
from genmodels.ranges import PositiveInt
from genmodels.seeds import seeded
from genmodels.trees import count, first, part, to
from genmodels.units import bits_per_dim

PerImage = Float64[Tensor, "n"]


class Likelihood(Evaluator):
    """Mean negative log-likelihood over a split, with its standard error in the protocol.

    Each batch is computed by one process, and batch number i has its own random numbers, so that
    the result is the same for any number of processes, to the last bit.
    """

    mode: ClassVar[Mode] = "min"

    def __init__(
        self,
        *,
        draws: PositiveInt,  # of log_prob per sample; an exact log_prob is computed once
        max_samples: PositiveInt | None,  # only the first samples of the split; null: all
        batch: PositiveInt,  # samples times draws in one call of the model
        save: str | None,  # an .npz file for the values of all samples; null: no file
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

    def needs(self, subject: Subject) -> str | None:
        return why_not(subject.model, HasLikelihood)

    def metrics(self, subject: Subject, features: str) -> list[str]:
        names = ["bits_per_dim"] * has_levels(subject.data) + ["nll_nats"] + ["elbo_nats"] * self.is_importance(subject)
        return [metric_name_of(metric, subject) for metric in names]

    def is_importance(self, subject: Subject) -> bool:
        """Whether several draws of an evidence lower bound make the importance bound."""
        return cast(HasLikelihood, subject.model).bound == "elbo" and self.draws > 1

    def check(self, subject: Subject) -> None:
        self.held_out(subject)
        if self.save is not None:
            require_writable(self.save)

    def measure(self, subject: Subject, how: Procedure) -> list[Record]:
        """bits_per_dim (discrete data only), nll_nats, and elbo_nats in addition to an importance bound.

        `elbo_nats` is the bound itself, E log p(x, z)/q(z|x) <= log p(x), not its negative.
        The values of all samples for the first metric go to `how.show`.
        """
        model, data = cast(HasLikelihood, subject.model), subject.data
        x, condition = self.held_out(subject)
        mean, tight = self.score_all(model, x, given(subject.model, condition), how).unbind(1)
        importance = self.is_importance(subject)
        nll = -(tight if importance else mean)
        several = [*([bits_per_dim(nll, dims(data))] if has_levels(data) else []), nll, *([mean] if importance else [])]
        values = dict(zip(self.metrics(subject, ""), several, strict=True))
        protocol = self.protocol(subject, count(x))
        if self.save is not None and rank_and_world()[0] == 0:
            save_values(self.save, values, condition.get("label"), protocol | {"seed": how.seed})
        name, of_each = next(iter(values.items()))
        how.show.values(f"{subject.split}/{name}", of_each)
        return [record(metric, subject.split, v, protocol) for metric, v in values.items()]

    def protocol(self, subject: Subject, n: int) -> dict[str, Any]:
        """The protocol that all results share, for `n` samples."""
        model, data = cast(HasLikelihood, subject.model), subject.data
        on = list(conditions_of(subject.model))
        return {
            "reference": f"{data.name}/{subject.split}",
            "n_reference": n,
            "reference_fingerprint": data.fingerprint(subject.split),
            **preparation_protocol(data.prepared),
            "bound": "iwae" if self.is_importance(subject) else model.bound,
            "draws": self.draws_of(model),
            **({"conditional_on": on} if on else {}),
            **({} if model.bound == "exact" else {"seeded": f"per batch of {self.batch}"}),
            **model.likelihood_protocol(),
        }

    def draws_of(self, model: HasLikelihood) -> int:
        """The number of draws for each sample."""
        return 1 if model.bound == "exact" else self.draws

    def held_out(self, subject: Subject) -> tuple[Batch, Condition]:
        """The samples to score and their conditions."""
        x, condition = subject.data.split(subject.split)
        if not count(x):
            raise UserError(
                f"{subject.data.name} has no samples in its {subject.split} split, expected at least 1: choose another"
            )
        return first(x, self.max_samples), first(dict(condition), self.max_samples)

    def score_all(self, model: HasLikelihood, x: Batch, condition: Condition, how: Procedure) -> Float64[Tensor, "n 2"]:
        """The results of `score` for all samples, on every process, on the CPU."""
        n = count(x)
        values = torch.zeros(n, 2, dtype=torch.float64, device=how.device)
        how.progress("likelihood", 0, n)
        for where, v in self.scores(model, x, condition, how):
            values[where] = v
            how.progress("likelihood", where.stop, n)
        return total(values).cpu()  # a row is zero on every process but one

    @torch.no_grad()
    def scores(
        self, model: HasLikelihood, x: Batch, condition: Condition, how: Procedure
    ) -> Iterator[tuple[slice, Float64[Tensor, "b 2"]]]:
        """This process's batches: the slice of `x`, and the result of `score`."""
        rank, world = rank_and_world()
        n = count(x)
        for start in range(rank * self.batch, n, world * self.batch):
            where = slice(start, min(start + self.batch, n))
            batch = to((part(x, where), part(condition, where)), how.device)
            with seeded(how.seed, start // self.batch), float32_convolutions():
                v = self.score(model, *batch)
            if v.isnan().any():
                raise Fault(f"log_prob gave NaN for samples {start} to {where.stop - 1}: check the model's weights")
            yield where, v

    def score(self, model: HasLikelihood, x: Batch, condition: Condition) -> Float64[Tensor, "b 2"]:
        """Mean and log-mean-exp of the draws of log p(x) in nats, with as many draws at once as fit into a batch."""
        draws, b = self.draws_of(model), count(x)
        means, log_sums = [], []
        for k in chunks(draws, max(1, self.batch // b)):
            w = model.log_prob(x, condition)[None] if draws == 1 else model.log_prob(x, condition, draws=k)
            require_shape(w, k, b)
            w = w.double()
            means.append(w.sum(0) / draws)
            log_sums.append(w.logsumexp(0))
        return torch.stack([torch.stack(means).sum(0), torch.stack(log_sums).logsumexp(0) - log(draws)], dim=1)


def require_shape(w: Tensor, draws: int, samples: int) -> None:
    """UserError where log_prob of a model returns anything but one value for each draw of each sample."""
    if w.shape != (draws, samples):
        right, found = ([samples], [*w.shape[1:]]) if draws == 1 else ([draws, samples], [*w.shape])
        raise UserError(f"the model's log_prob gave values of shape {found}, expected {right}: nats of each sample")


def metric_name_of(metric: str, subject: Subject) -> str:
    """The name of the metric, with "conditional_" for a conditional model."""
    return f"conditional_{metric}" if conditions_of(subject.model) else metric


def record(metric: str, split: str, values: PerImage, protocol: Mapping[str, Any]) -> Record:
    """The mean, with its standard error in the protocol; for an evidence lower bound higher is better."""
    about, elbo = {**protocol, "standard_error": standard_error(values)}, metric.endswith("elbo_nats")
    if elbo:
        about["bound"] = "elbo"
    mode: Mode = "max" if elbo else "min"
    return Record(metric=metric, split=split, value=values.mean().item(), std=None, protocol=about, mode=mode)


def standard_error(values: PerImage) -> float:
    """Standard error of the mean: the standard deviation over samples (n - 1) over sqrt(n); 0 for one sample."""
    n = len(values)
    return (values.std() / n**0.5).item() if n > 1 else 0.0


def save_values(file: Path, values: Mapping[str, PerImage], y: Tensor | None, protocol: Mapping[str, Any]) -> None:
    """Writes metrics of each sample by name, labels `y`, `index` in the order of the split, and `protocol` as JSON."""
    arrays: dict[str, Any] = {name: v.numpy() for name, v in values.items()}
    arrays["index"] = np.arange(len(next(iter(values.values()))))
    arrays["protocol"] = dumps(dict(protocol))
    if y is not None:
        arrays["y"] = y.cpu().numpy()
    with replacing(file) as stream:
        np.savez_compressed(stream, **arrays)


def chunks(n: int, size: int) -> list[int]:
    """n as a sum of chunks of at most `size`: chunks(7, 3) is [3, 3, 1]."""
    return [min(size, n - start) for start in range(0, n, size)]
