"""The rows of tables: one for each run and way of sampling it; and their order."""

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
    """A row of a table: results for one way of sampling, and those that do not depend on it, such as a likelihood."""

    group: SeedGroup
    way: list[str]  # what distinguishes this way from the others, such as "sampler_eta=1.0"; []: it is the only one
    results: list[Mean]

    @property
    def run(self) -> Run:
        return self.group.run

    def shown(self, columns: Columns) -> dict[Column, Mean]:
        """Its results by column; of several in one column the first."""
        return {column: results[0] for column, results in columns.placed(self.results).items()}

    def values(self, columns: Columns) -> dict[Column, float]:
        """Its finite numbers by column."""
        return {column: one.value for column, one in self.shown(columns).items() if isfinite(one.value)}


def entries(groups: Iterable[SeedGroup]) -> list[Entry]:
    """A row for each way in which a group was sampled, in the order of the results; one row for a group without any."""
    return [Entry(group, *way) for group in groups for way in _ways(group.results)]


def _ways(results: Sequence[Mean]) -> list[tuple[list[str], list[Mean]]]:
    """For each way of sampling what distinguishes it from the others, and its results."""
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
    """Whether a result belongs to one way only: it is of samples, and is no speed."""
    return is_of_samples(result.protocol) and not is_timed(result.protocol)


def _belongs(result: Mean, way: dict[str, Any]) -> bool:
    """Whether a result belongs to a way; one that does not depend on sampling, such as a likelihood, belongs to all."""
    return _way(result) == way if _is_own(result) else _way(result).items() <= way.items()


def common_column(rows: Sequence[Entry], columns: Columns, metric: str | None = None) -> Column | None:
    """The column that most rows of finished runs have, of this metric if any row has it; None without results."""
    finished = [row for row in rows if row.run.status.state == "finished"] or rows
    held = Counter(column for row in finished for column in row.shown(columns))
    of_metric = [column for column in columns.all if column.metric == metric]
    sorting = [column for column in columns.all if column.mode is not None and column in held]
    return max(of_metric or sorting, key=lambda column: held[column], default=None)


def best_first(rows: Sequence[Entry], columns: Columns, column: Column | None) -> list[Entry]:
    """The rows, best first by a column; then those whose metric was measured in another way; then the others."""
    of_metric = columns.begun_with(column) if column else []

    def rank(row: Entry) -> tuple[int, float]:
        values = row.values(columns)
        place = next((i for i, c in enumerate(of_metric) if c.metric == of_metric[0].metric and c in values), None)
        if place is None:
            return len(of_metric), 0.0
        return place, {"min": 1, "max": -1, None: 0}[of_metric[place].mode] * values[of_metric[place]]

    return sorted(rows, key=rank)
