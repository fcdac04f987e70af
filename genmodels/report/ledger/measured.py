"""Our number for a published one: mean and spread over runs with several seeds, and over seeds of their samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from genmodels.config.changes import changes
from genmodels.evaluators.results import Record
from genmodels.report.ledger.results import Result
from genmodels.report.metrics import is_of_samples, main_record, without_chance
from genmodels.report.seeds import mean_and_std


@dataclass(frozen=True, kw_only=True)
class Ours:
    """The mean over runs; the spread (n - 1) over them, or over the seeds of one run's samples, None for one number."""

    mean: float
    spread: float | None
    seeds: tuple[int, ...]  # of training
    sample_seeds: int  # that each run was measured with, the fewest
    protocol: dict[str, Any]  # without what chance and the machine give
    uncertainty: float | None  # the standard error of the mean over test samples, where there is one

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.spread is None else f" ± {self.spread:.3f}")


def our_number(results: Sequence[Result], metric: str) -> Ours | None:
    """Over those results that were measured in the first one's way; None where none has the metric."""
    alike = [result for result in results if not measured_otherwise(result, results, metric)]
    records = {result.seed: found for result in alike if (found := records_of(result, metric))}
    if not records:
        return None
    first, *_ = records.values()
    means = [fmean(record.value for record in of_run) for of_run in records.values()]
    return Ours(
        mean=fmean(means),
        spread=mean_and_std(means if len(means) > 1 else [record.value for record in first])[1],
        seeds=tuple(records),
        sample_seeds=min(map(len, records.values())),
        protocol=without_chance(first[0].protocol),
        uncertainty=first[0].protocol.get("standard_error"),
    )


def records_of(result: Result, metric: str) -> list[Record]:
    """The records that stand for a metric: the run's own, and those that differ from it in the seed of the samples."""
    records = result.measured()
    first = main_record(records, metric)
    if first is None or not is_of_samples(first.protocol):
        return [first] if first else []
    alike = [without_chance(first.protocol), first.protocol.get("step")]
    return [r for r in records if r.key == metric and [without_chance(r.protocol), r.protocol.get("step")] == alike]


def measured_otherwise(result: Result, results: Sequence[Result], metric: str) -> dict[str, list]:
    """The keys of the protocol in which a result was measured in another way than the first one."""
    ways = [without_chance(found[0].protocol) for one in (result, *results) if (found := records_of(one, metric))]
    return changes(ways[0], ways[1]) if len(ways) > 1 and records_of(result, metric) else {}
