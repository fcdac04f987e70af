"""Our number for a published one: mean and spread over runs with several seeds, and over seeds of their samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from genmodels.config.changes import changes
from genmodels.evaluators.results import Record
from genmodels.report.ledger.results import Result
from genmodels.report.metrics import chosen, way


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The mean over runs; the spread (n - 1) over them, or over the seeds of one run's samples, None for one number."""

    mean: float
    spread: float | None
    seeds: tuple[int, ...]  # of training
    sample_seeds: int  # that each run was measured with, the fewest
    protocol: dict[str, Any]  # without what chance and the machine give
    uncertainty: float | None  # the standard error of the mean over test samples, where there is one


def ours(results: Sequence[Result], metric: str) -> Ours | None:
    """Over those results that were measured in the first one's way; None where none has the metric."""
    alike = [result for result in results if not otherwise(result, results, metric)]
    records = [records for result in alike if (records := records_of(result, metric))]
    if not records:
        return None
    means = [fmean(record.value for record in of_run) for of_run in records]
    over = means if len(means) > 1 else [record.value for record in records[0]]
    first = records[0][0]
    return Ours(
        mean=fmean(means),
        spread=stdev(over) if len(over) > 1 else None,
        seeds=tuple(result.seed for result in alike if records_of(result, metric)),
        sample_seeds=min(map(len, records)),
        protocol=way(first),
        uncertainty=first.protocol.get("standard_error"),
    )


def records_of(result: Result, metric: str) -> list[Record]:
    """The records that stand for a metric: the run's own, and those that differ from it in the seed of the samples."""
    records = result.measured()
    first = chosen(records, metric)
    if first is None:
        return []
    step = first.protocol.get("step")
    same = [r for r in records if r.key == metric and way(r) == way(first) and r.protocol.get("step") == step]
    return same if depends_on_samples(first) else [first]


def depends_on_samples(record: Record) -> bool:
    """Whether another seed of the evaluation draws other samples; a likelihood is over the same data."""
    return "n_generated" in record.protocol


def otherwise(result: Result, results: Sequence[Result], metric: str) -> dict[str, list]:
    """The keys of the protocol in which a result was measured in another way than the first one."""
    ways = [way(records[0]) for one in (result, *results) if (records := records_of(one, metric))]
    return changes(ways[0], ways[1]) if len(ways) > 1 and records_of(result, metric) else {}
