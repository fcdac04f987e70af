"""Each published number with those results of ours that count for it, and those that do not."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean

from genmodels.report.ledger.experiments import Experiment, deviations, in_words
from genmodels.report.ledger.measured import Ours, measured_otherwise, our_number
from genmodels.report.ledger.results import Result


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One experiment; or a published number that no experiment file is after but for shorter or smaller ones."""

    experiment: Experiment
    there_is_a_file: bool = True
    counted: list[Result] = field(default_factory=list)
    others: list[tuple[Result, str]] = field(default_factory=list)  # that do not count, and why

    @cached_property
    def ours(self) -> Ours | None:
        return our_number(self.counted, self.experiment.aim.metric)

    @property
    def seconds(self) -> float | None:
        """The mean time of a training with its evaluation."""
        known = [result.seconds for result in self.counted if result.seconds is not None]
        return fmean(known) if known else None

    @property
    def verdict(self) -> str:
        """In a few words."""
        if self.ours is None:
            return _without_number(self)
        aim = self.experiment.aim
        above = self.ours.mean - aim.figure
        if aim.variant is not None:
            return f"variant: {above:+.2f}"
        low, high = aim.tolerance
        return "in" if low <= above <= high else f"out: {above:+.2f}"


def _without_number(row: Comparison) -> str:
    """Why a row has no number of ours."""
    if row.counted:
        return "no result"
    if any(result.status == "finished" for result, _ in row.others):
        return "other config"
    return "failed" if row.others else "not run"


def comparisons(experiments: Sequence[Experiment], results: Sequence[Result]) -> list[Comparison]:
    """By dataset, metric and system, a paper's own row before its variants."""
    found = [_comparison(experiment, results) for experiment in experiments]
    paper = {one.number for one in experiments if one.aim.variant is None}
    lacking = {one.number: one for one in experiments if one.number not in paper}
    for one in lacking.values():
        of_paper = replace(one, aim=replace(one.aim, variant=None), name="")
        found.append(Comparison(experiment=of_paper, there_is_a_file=False))
    return sorted(found, key=lambda row: _place(row.experiment))


def _place(experiment: Experiment) -> tuple[tuple[str, str, str], bool, str]:
    return experiment.number, experiment.aim.variant is not None, experiment.name


def _comparison(experiment: Experiment, results: Sequence[Result]) -> Comparison:
    of_it = [result for result in results if result.experiment == experiment.name]
    why = {result.seed: _why_not(result, experiment) for result in of_it}
    same = [result for result in of_it if not why[result.seed]]
    for result in same:
        if odd := measured_otherwise(result, same, experiment.aim.metric):
            why[result.seed] = f"measured in another way: {in_words(odd)}"
    return Comparison(
        experiment=experiment,
        counted=[result for result in of_it if not why[result.seed]],
        others=[(result, why[result.seed]) for result in of_it if why[result.seed]],
    )


def _why_not(result: Result, experiment: Experiment) -> str:
    """Why a result does not count; empty where it does."""
    if other := deviations(result.config, experiment):
        return f"ran with another config: {in_words(other)}"
    return f"failed: {result.error}" if result.status == "failed" else ""
