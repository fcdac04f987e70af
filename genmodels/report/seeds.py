"""Runs that differ only in their seed, with mean and spread of their results."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev
from typing import Any

from genmodels.evaluators.results import Record
from genmodels.report.differences import trained_by
from genmodels.report.metrics import canonical, compared, drawn, newest, of_model
from genmodels.report.words import with_spread
from genmodels.run.run import Run


@dataclass(frozen=True, kw_only=True)
class Mean(Record):
    """A result over runs that differ in their seeds; a seed that was run or sampled several times counts by its mean.

    `value` is the mean, `std` is over seeds (n - 1; None for one seed), and `protocol` is what they share. For a single
    run it is the record itself.
    """

    n: int  # number of seeds

    def text(self, of: int) -> str:
        """Mean and spread; with n, where fewer than `of` seeds have the result."""
        return with_spread(self.value, self.std) + (f" (n = {self.n})" if self.n < of else "")


@dataclass(frozen=True, kw_only=True)
class SeedGroup:
    """Runs whose configs differ only in their seed, or a single run."""

    runs: list[Run]
    results: list[Mean]  # one for each metric and way of measuring it; those of the runs' own evaluation first

    @property
    def run(self) -> Run:
        """The first run, for what all runs share."""
        return self.runs[0]

    @property
    def seeds(self) -> list[int]:
        """The different seeds of the runs."""
        return sorted({run.seed for run in self.runs})

    def mean(self, metric: str) -> Mean | None:
        """The first result of a metric."""
        return next((mean for mean in self.results if mean.key == metric), None)


def alone(runs: Iterable[Run]) -> list[SeedGroup]:
    """Each run as a group of its own, with its newest results."""
    return [SeedGroup(runs=[run], results=[Mean(**vars(r), n=1) for r in newest(run.results)]) for run in runs]


def over_seeds(runs: Iterable[Run]) -> list[SeedGroup]:
    """The runs grouped by what they train, in order of appearance, with mean and spread of their results."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(canonical(trained_by(run)), []).append(run)
    return [SeedGroup(runs=members, results=_means(members)) for members in groups.values()]


def _means(runs: Sequence[Run]) -> list[Mean]:
    """A mean for each metric and way of measuring it; those of the runs' first records come first."""
    of_seeds = [(run.seed, newest(run.results)) for run in runs]
    shown = [record for _, records in of_seeds for record in {record.key: record for record in records[::-1]}.values()]
    ways: dict[str, dict[int, list[Record]]] = {_identity(record): {} for record in shown}  # way -> seed -> records
    for seed, records in of_seeds:
        for record in records:
            ways.setdefault(_identity(record), {}).setdefault(seed, []).append(record)
    return [_mean(list(by_seed.values())) for by_seed in ways.values()]


def _identity(record: Record) -> str:
    """A text that is equal for records that may be averaged."""
    how = {**compared(record.protocol), **drawn(record.protocol), **of_model(record.protocol)}
    return canonical([record.key, record.mode, how])


def _mean(by_seed: Sequence[Sequence[Record]]) -> Mean:
    first = by_seed[0][0]
    value, std = mean_and_std([fmean(record.value for record in records) for records in by_seed])
    protocol = _shared([record.protocol for records in by_seed for record in records])
    return Mean(**vars(first) | {"value": value, "std": std, "protocol": protocol}, n=len(by_seed))


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and the standard deviation (n - 1); None for one value, or where one is not finite."""
    return fmean(values), stdev(values) if len(values) > 1 and all(map(isfinite, values)) else None


def _shared(protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: v for key, v in protocols[0].items() if all(other.get(key, ...) == v for other in protocols)}
