"""Compares each published number with our results, those that count for it and those that do not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from genmodels.config.changes import changes
from genmodels.evaluators.results import Record
from genmodels.report.ledger.experiments import Experiment, deviations, in_words
from genmodels.report.ledger.results import Result
from genmodels.report.metrics import is_of_samples, newest, without_chance
from genmodels.report.seeds import Mean, mean_and_std


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One experiment with its results; or a published number that has only variants, and no experiment of its own."""

    experiment: Experiment
    counted: list[Result]
    others: list[tuple[Result, str]]  # results that do not count, and why

    @cached_property
    def records(self) -> dict[int, list[Record]]:
        """The records of the metric of each training that counts, by its seed: one for each seed of the samples."""
        found = {result.seed: records_of(result, self.experiment.aim.metric) for result in self.counted}
        return {seed: records for seed, records in found.items() if records}

    @cached_property
    def ours(self) -> Mean | None:
        """Mean and spread over trainings (of one training over its sample seeds); None without a number."""
        if not self.records:
            return None
        first, *more = self.records.values()
        means = [fmean(record.value for record in of_training) for of_training in (first, *more)]
        spread = mean_and_std(means if more else [record.value for record in first])[1]
        return Mean(**vars(first[0]) | {"value": fmean(means), "std": spread}, n=len(means))

    @property
    def ours_in_words(self) -> str:
        """Such as "86.912 ± 0.041", with three decimals; "" without a number."""
        if self.ours is None:
            return ""
        return f"{self.ours.value:.3f}" + ("" if self.ours.std is None else f" ± {self.ours.std:.3f}")

    @property
    def sample_seeds(self) -> int:
        """The smallest number of sample seeds of a training."""
        return min(map(len, self.records.values()), default=0)

    @property
    def seconds(self) -> float | None:
        """The mean time of a training with its evaluation."""
        known = [result.seconds for result in self.counted if result.seconds is not None]
        return fmean(known) if known else None

    @property
    def verdict(self) -> str:
        """The outcome, such as "in" or "out: +0.30"."""
        if self.ours is None:
            return self._without_number()
        aim = self.experiment.aim
        above = self.ours.value - aim.figure
        if aim.variant is not None:
            return f"variant: {above:+.2f}"
        low, high = aim.tolerance
        return "in" if low <= above <= high else f"out: {above:+.2f}"

    def _without_number(self) -> str:
        if self.counted:
            return "no result"
        if any(result.status == "finished" for result, _ in self.others):
            return "other config"
        return "failed" if self.others else "not run"


def comparisons(experiments: Sequence[Experiment], results: Sequence[Result]) -> list[Comparison]:
    """The comparisons by dataset, metric and system; a paper's own row comes before its variants."""
    paper = {one.number for one in experiments if one.aim.variant is None}
    lacking = {one.number: one for one in experiments if one.number not in paper}
    no_file = [replace(one, aim=replace(one.aim, variant=None), name="") for one in lacking.values()]
    ordered = sorted([*experiments, *no_file], key=lambda one: (one.number, one.aim.variant is not None, one.name))
    return [_comparison(one, [result for result in results if result.experiment == one.name]) for one in ordered]


def _comparison(experiment: Experiment, results: Sequence[Result]) -> Comparison:
    why = [(result, _why_not(result, experiment)) for result in results]
    first = next((result for result, odd in why if not odd), None)
    why = [(result, odd or _why_apart(result, first, experiment.aim.metric)) for result, odd in why]
    counted = [result for result, odd in why if not odd]
    return Comparison(experiment=experiment, counted=counted, others=[(result, odd) for result, odd in why if odd])


def _why_not(result: Result, experiment: Experiment) -> str:
    """Why a result does not count; "" where it does."""
    if other := deviations(result.config, experiment):
        return f"ran with another config: {in_words(other)}"
    return f"failed: {result.error}" if result.status == "failed" else ""


def _why_apart(result: Result, first: Result | None, metric: str) -> str:
    """Why a result cannot be averaged with the first one; "" where it can."""
    ways = [without_chance(found[0].protocol) for one in (result, first) if one and (found := records_of(one, metric))]
    odd = changes(ways[0], ways[1]) if len(ways) == 2 else {}
    return f"measured in another way: {in_words(odd)}" if odd else ""


def records_of(result: Result, metric: str) -> list[Record]:
    """The records of a metric that count: at the newest step the one that training itself measured, and those that
    differ from it only in the seed of the samples."""
    records = [record for record in newest(result.measured()) if record.key == metric]
    if not records or not is_of_samples(records[0].protocol):
        return records[:1]
    return [one for one in records if without_chance(one.protocol) == without_chance(records[0].protocol)]
