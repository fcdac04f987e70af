"""Runs that differ only in their seed, with mean and spread of what was measured."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean, stdev
from typing import Any

from genmodels.evaluators.results import Record
from genmodels.report.differences import settings
from genmodels.report.metrics import Mode, as_text, compared, drawn, newest, of_model
from genmodels.run.run import Run


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One result of runs that differ in their seeds; a seed that was run or sampled repeatedly counts by its mean."""

    key: str  # split and metric, such as "test/bits_per_dim"
    mode: Mode | None  # which values are better; None: neither
    n: int  # seeds that have it
    mean: float
    std: float | None  # over seeds (n - 1); None for one
    protocol: dict[str, Any]  # what they share


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs whose configs differ in nothing but their seed."""

    runs: list[Run]
    spreads: list[Spread]  # of every way in which something was measured, the runs' own evaluation first

    @property
    def seeds(self) -> list[int]:
        """Those of the runs, each once."""
        return sorted({run.seed for run in self.runs})

    def spread(self, metric: str) -> Spread | None:
        """The result that stands for a metric."""
        return next((spread for spread in self.spreads if spread.key == metric), None)


def over_seeds(runs: Sequence[Run]) -> list[Group]:
    """The runs by what they train, in order of appearance, each with mean and spread of what was measured."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(settings(run), sort_keys=True), []).append(run)
    return [Group(runs=members, spreads=_spreads(members)) for members in groups.values()]


def _spreads(runs: Sequence[Run]) -> list[Spread]:
    """One for each metric and way of measuring it, what the runs were chosen to show first."""
    of_seeds = [(run.seed, newest(run.results)) for run in runs]
    shown = [record for _, records in of_seeds for record in {record.key: record for record in records[::-1]}.values()]
    ways: dict[str, dict[int, list[Record]]] = {_mark(record): {} for record in shown}  # way -> seed -> records
    for seed, records in of_seeds:
        for record in records:
            ways.setdefault(_mark(record), {}).setdefault(seed, []).append(record)
    return [_spread(list(by_seed.values())) for by_seed in ways.values()]


def _mark(record: Record) -> str:
    parts = (compared(record.protocol), drawn(record.protocol), of_model(record.protocol))
    return "\n".join([record.key, str(record.mode), *map(as_text, parts)])


def _spread(by_seed: Sequence[Sequence[Record]]) -> Spread:
    values = [fmean(record.value for record in records) for records in by_seed]
    every = [record for records in by_seed for record in records]
    return Spread(
        key=every[0].key,
        mode=every[0].mode,
        n=len(values),
        mean=fmean(values),
        std=stdev(values) if len(values) > 1 and all(map(isfinite, values)) else None,
        protocol=_shared([record.protocol for record in every]),
    )


def _shared(protocols: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {key: v for key, v in protocols[0].items() if all(other.get(key, ...) == v for other in protocols)}
