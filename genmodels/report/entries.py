"""The rows of tables: runs in each of the ways in which they were sampled, and which row comes first."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from genmodels.report.columns import Column, Columns
from genmodels.report.metrics import drawn, is_of_samples, is_timed, of_model
from genmodels.report.seeds import Mean, SeedGroup
from genmodels.report.words import settings_in_words
from genmodels.run.run import Run


@dataclass(frozen=True)
class Entry:
    """A row of a table: what was measured in one way of sampling, and what does not depend on it, as a likelihood."""

    group: SeedGroup
    way: list[str]  # what tells it from the other ways, such as "sampler_eta=1.0"; nothing where it is the only one
    results: list[Mean]

    @property
    def run(self) -> Run:
        return self.group.run

    def shown(self, columns: Columns) -> dict[Column, Mean]:
        """Its results by their columns: of several in one the first."""
        return {column: results[0] for column, results in columns.placed(self.results).items()}

    def values(self, columns: Columns) -> dict[Column, float]:
        """Its numbers by their columns, without those that are not finite."""
        return {column: one.value for column, one in self.shown(columns).items() if isfinite(one.value)}


def entries(groups: Iterable[SeedGroup]) -> list[Entry]:
    """A row for each way in which each group was sampled, in the order of the results; one without any for none."""
    return [Entry(group, *way) for group in groups for way in _ways(group.results)]


def _ways(results: Sequence[Mean]) -> list[tuple[list[str], list[Mean]]]:
    """What tells each way from the others, and what was measured so."""
    every: list[dict[str, Any]] = []
    of_several = sorted((one for one in results if not _is_own(one)), key=lambda one: -len(_way(one)))
    for result in [*filter(_is_own, results), *of_several]:
        if not any(_belongs(result, way) for way in every):
            every.append(_way(result))
    names = dict.fromkeys(key for way in every for key in way)
    differing = [key for key in names if any(way.get(key, ...) != every[0].get(key, ...) for way in every)]
    told = [settings_in_words({key: way[key] for key in differing if key in way}) for way in every]
    members = [[result for result in results if _belongs(result, way)] for way in every]
    return list(zip(told, members, strict=True)) or [([], [])]


def _way(result: Mean) -> dict[str, Any]:
    return {**of_model(result.protocol), **drawn(result.protocol)}


def _is_own(result: Mean) -> bool:
    """Whether it stands in its own way only: it is of samples, and no time of theirs."""
    return is_of_samples(result.protocol) and not is_timed(result.protocol)


def _belongs(result: Mean, way: dict[str, Any]) -> bool:
    """Whether it was measured so; what does not depend on how samples were drawn, as a likelihood, is of all ways."""
    return _way(result) == way if _is_own(result) else _way(result).items() <= way.items()


def common_column(rows: Sequence[Entry], columns: Columns, metric: str | None = None) -> Column | None:
    """The first result that most rows of finished runs have, of this metric where any has it; None without any."""
    finished = [row for row in rows if row.run.status.state == "finished"] or rows
    held = Counter(column for row in finished for column in row.shown(columns))
    of_metric = [column for column in columns.all if column.metric == metric]
    sorting = [column for column in columns.all if column.mode is not None and column in held]
    return max(of_metric or sorting, key=lambda column: held[column], default=None)


def best_first(rows: Sequence[Entry], columns: Columns, column: Column | None) -> list[Entry]:
    """The rows by a result, the best one first; then those that have its metric measured otherwise; then the others."""
    of_metric = columns.begun_with(column) if column else []

    def rank(row: Entry) -> tuple[int, float]:
        values = row.values(columns)
        place = next((i for i, c in enumerate(of_metric) if c.metric == of_metric[0].metric and c in values), None)
        if place is None:
            return len(of_metric), 0.0
        return place, {"min": 1, "max": -1, None: 0}[of_metric[place].mode] * values[of_metric[place]]

    return sorted(rows, key=rank)
