"""The rows of tables, best first, and how they look on a terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genmodels.evaluators.results import Record
from genmodels.report.columns import Column, Columns
from genmodels.report.differences import differences, labels
from genmodels.report.gather import Run
from genmodels.report.metrics import newest
from genmodels.report.seeds import Group, over_seeds
from genmodels.report.ways import Way, ways
from genmodels.report.words import mean_and_spread, number, plural, shown

DIFFERENCES = 4  # lines of a cell
WIDTH = 14  # of a column of results, about

Told = dict[int, list[str]]  # id of a run -> what tells it from others


@dataclass(frozen=True)
class Entry:
    """A run in one of the ways in which it was sampled: a row of a table."""

    run: Run
    way: Way[Record]

    def values(self, columns: Columns) -> dict[Column, float]:
        """Its numbers by their columns, without those that are not finite."""
        shown = {column: records[0].value for column, records in columns.placed(self.way.results).items()}
        return {column: value for column, value in shown.items() if isfinite(value)}


def entries(runs: Iterable[Run]) -> list[Entry]:
    """A row for each way in which each run was sampled, of the newest step."""
    return [Entry(run, way) for run in runs for way in ways(newest(run.records))]


def columns_of(runs: Iterable[Run]) -> Columns:
    """The columns that the newest results of these runs need."""
    return Columns((run.dataset, record) for run in runs for record in newest(run.records))


def common_column(rows: Sequence[Entry], columns: Columns, metric: str | None = None) -> Column | None:
    """The first result that most rows of finished runs have, of this metric where any has it; None without any."""
    finished = [row for row in rows if row.run.status == "finished"] or rows
    held = Counter(column for row in finished for column in columns.placed(row.way.results))
    of_metric = [column for column in columns.all if column.metric == metric]
    sorting = [column for column in columns.all if column.mode is not None and column in held]
    return max(of_metric or sorting, key=lambda column: held[column], default=None)


def best_first(rows: Sequence[Entry], columns: Columns, column: Column | None) -> list[Entry]:
    """The rows by a result, the best one first; then those that have its metric measured otherwise; then the others."""
    of_metric = [] if column is None else [column, *(c for c in columns.all if c.metric == column.metric)]

    def rank(row: Entry) -> tuple[int, float]:
        values = row.values(columns)
        found = next(((i, c.mode, values[c]) for i, c in enumerate(of_metric) if c in values), None)
        if found is None:
            return len(of_metric), 0.0
        place, mode, value = found
        return place, {"min": value, "max": -value, None: 0.0}[mode]

    return sorted(rows, key=rank)


def show(runs: Sequence[Run], metric: str | None, console: Console) -> None:
    """A table for each dataset, best row first, then one over seeds where there are several; errors stand below."""
    told = {id(run): words for run, words in zip(runs, labels(differences(runs)), strict=True)}
    for dataset in sorted({run.dataset for run in runs}):
        _show([run for run in runs if run.dataset == dataset], metric, told, console)
    for run in runs:
        if run.error:
            console.print(f"{run.path}: {run.status}: {run.error}", soft_wrap=True, highlight=False, markup=False)


def _show(runs: Sequence[Run], metric: str | None, told: Told, console: Console) -> None:
    dataset, columns, rows = runs[0].dataset, columns_of(runs), entries(runs)
    first = common_column(rows, columns, metric)
    ordered = best_first(rows, columns, first)
    chosen = _chosen(columns, first, console.width)
    best = f", best {heading(first)} first" if first else ", no results yet"
    console.print(_of_runs(ordered, columns, chosen, told, f"{dataset}: {plural(len(runs), 'run')}{best}"))
    by_row = list({id(row.run): row.run for row in ordered}.values())
    if groups := [group for group in over_seeds(by_row) if len(group.seeds) > 1]:
        console.print(_of_seeds(groups, columns, chosen, told, f"{dataset}: mean ± standard deviation over seeds"))


def heading(column: Column) -> str:
    """A column in words: "test/bits_per_dim (bound elbo)"."""
    return column.metric + (f" ({', '.join(column.words)})" if column.words else "")


def _lines(words: Sequence[str]) -> str:
    more = [f"and {len(words) - DIFFERENCES} more"] if len(words) > DIFFERENCES else []
    return "\n".join([*words[:DIFFERENCES], *more])


def _chosen(columns: Columns, first: Column | None, width: int) -> list[Column]:
    """The column that sorts, others of its metric, then those left in their order, as many as there is room for."""
    same = [column for column in columns.all if first and column.metric == first.metric]
    every = dict.fromkeys([*([first] if first else []), *same, *columns.all])
    return list(every)[: max(1, (width - 60) // WIDTH)]


def _table(words: Iterable[str], columns: Iterable[Column], title: str) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for word in words:
        wide = word == "what differs"
        table.add_column(word, overflow="fold", no_wrap=not wide, min_width=18 if wide else None)
    for column in columns:
        words_above = "\n".join([shown(column.metric).replace("_", " "), *column.words])
        table.add_column(escape(words_above), justify="right")
    return table


def _without(differs: bool, *words: str) -> tuple[str, ...]:
    """The words of a row, the second one only where rows differ."""
    return words if differs else (words[0], *words[2:])


def _of_runs(rows: Sequence[Entry], columns: Columns, chosen: Sequence[Column], told: Told, title: str) -> Table:
    differs = any(told.values()) or any(row.way.words for row in rows)
    table = _table(_without(differs, "run", "what differs", "seed", "status", "steps"), chosen, title)
    for row in rows:
        about = _lines([*told[id(row.run)], *row.way.words])
        words = _without(differs, row.run.name, about, str(row.run.seed), row.run.status, str(row.run.step))
        values = row.values(columns)
        table.add_row(*map(escape, words), *(number(values.get(column)) for column in chosen))
    return table


def _of_seeds(groups: Sequence[Group], columns: Columns, chosen: Sequence[Column], told: Told, title: str) -> Table:
    rows = [(group, way) for group in groups for way in ways(group.spreads)]
    differs = any(told.values()) or any(way.words for _, way in rows)
    table = _table(_without(differs, "run", "what differs", "seeds"), chosen, title)
    for group, way in rows:
        about = _lines([*told[id(group.runs[0])], *way.words])
        words = _without(differs, group.runs[0].name, about, str(len(group.seeds)))
        found = columns.placed(way.results)
        table.add_row(*map(escape, words), *(mean_and_spread(*found.get(column, [None])[:1]) for column in chosen))
    return table
