"""The rows of the page: each published number with those results that count for it, and those that do not."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from genmodels.report.ledger.experiments import Experiment, as_text, differences
from genmodels.report.ledger.measured import Ours, otherwise, ours
from genmodels.report.ledger.results import Result


@dataclass(frozen=True, kw_only=True)
class Row:
    """One experiment; or a published number that no experiment file is after but for shorter or smaller ones."""

    experiment: Experiment
    there_is_a_file: bool = True
    counted: list[Result] = field(default_factory=list)
    others: list[tuple[Result, str]] = field(default_factory=list)  # that do not count, and why

    @property
    def ours(self) -> Ours | None:
        return ours(self.counted, self.experiment.metric)

    @property
    def verdict(self) -> str:
        """In a few words."""
        found, experiment = self.ours, self.experiment
        if found is None:
            return _without_number(self)
        above = found.mean - experiment.figure
        if experiment.variant is not None:
            return f"variant: {above:+.2f}"
        low, high = experiment.tolerance
        if low <= above <= high:
            return "in"
        return f"out: {above:+.2f}"


def _without_number(row: Row) -> str:
    """Why a row has no number of ours."""
    if row.counted:
        return "no result"
    if any(result.status == "finished" for result, _ in row.others):
        return "other config"
    return "failed" if row.others else "not run"


def rows(experiments: Sequence[Experiment], results: Sequence[Result]) -> list[Row]:
    """By dataset, metric and system, a paper's own row before its variants."""
    found = [_row(experiment, results) for experiment in experiments]
    paper = {row.experiment.aim for row in found if row.experiment.variant is None}
    lacking = {row.experiment.aim: row.experiment for row in found if row.experiment.aim not in paper}
    found += [Row(experiment=replace(one, variant=None, name=""), there_is_a_file=False) for one in lacking.values()]
    return sorted(found, key=lambda row: (row.experiment.aim, row.experiment.variant is not None, row.experiment.name))


def _row(experiment: Experiment, results: Sequence[Result]) -> Row:
    of_it = [result for result in results if result.experiment == experiment.name]
    why = {result.seed: _why_not(result, experiment) for result in of_it}
    same = [result for result in of_it if not why[result.seed]]
    for result in same:
        if odd := otherwise(result, same, experiment.metric):
            why[result.seed] = f"measured in another way: {as_text(odd)}"
    return Row(
        experiment=experiment,
        counted=[result for result in of_it if not why[result.seed]],
        others=[(result, why[result.seed]) for result in of_it if why[result.seed]],
    )


def _why_not(result: Result, experiment: Experiment) -> str:
    """Why a result does not count; empty where it does."""
    if other := differences(result.config, experiment):
        return f"ran with another config: {as_text(other)}"
    return f"failed: {result.error}" if result.status == "failed" else ""


def without_experiment(experiments: Sequence[Experiment], results: Sequence[Result]) -> list[Result]:
    """Results of experiments that there are no longer."""
    names = {experiment.name for experiment in experiments}
    return [result for result in results if result.experiment not in names]
