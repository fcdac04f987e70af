"""The rows of tables, best first, and how they look on a terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genmodels.evaluators.results import BETTER, Record
from genmodels.report.columns import Column, Columns
from genmodels.report.differences import differences, labels
from genmodels.report.metrics import newest
from genmodels.report.seeds import Group, over_seeds
from genmodels.report.ways import Way, ways
from genmodels.report.words import mean_and_spread, number, plural, shown
from genmodels.run.run import Run

DIFFERENCES = 4  # lines of a cell
NARROWEST = 18  # characters of the column that says what differs
HEADING = 12  # characters of a heading's line, as far as it has so many
BETWEEN = 3  # characters of a line between two columns, with the space on either side
DIFFERS = "what differs"  # heading of that column

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
    return [Entry(run, way) for run in runs for way in ways(newest(run.results))]


def columns_of(runs: Iterable[Run]) -> Columns:
    """The columns that the newest results of these runs need."""
    return Columns((run.dataset, record) for run in runs for record in newest(run.results))


def common_column(rows: Sequence[Entry], columns: Columns, metric: str | None = None) -> Column | None:
    """The first result that most rows of finished runs have, of this metric where any has it; None without any."""
    finished = [row for row in rows if row.run.status.state == "finished"] or rows
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
        if run.status.error:
            console.print(
                f"{run.path}: {run.status.state}: {run.status.error}", soft_wrap=True, highlight=False, markup=False
            )


def _show(runs: Sequence[Run], metric: str | None, told: Told, console: Console) -> None:
    dataset, columns, rows = runs[0].dataset, columns_of(runs), entries(runs)
    first = common_column(rows, columns, metric)
    ordered = best_first(rows, columns, first)
    wanted = _first_to_last(columns, first)
    best = f", best {heading(first)} first" if first else ", no results yet"
    title = f"{dataset}: {plural(len(runs), 'run')}{best}"
    console.print(_table(title, _of_runs(ordered, columns, wanted, told), wanted, console.width))
    by_row = list({id(row.run): row.run for row in ordered}.values())
    if groups := [group for group in over_seeds(by_row) if len(group.seeds) > 1]:
        title = f"{dataset}: mean ± standard deviation over seeds"
        console.print(_table(title, _of_seeds(groups, columns, wanted, told), wanted, console.width))


def heading(column: Column) -> str:
    """A column in words: "test/bits_per_dim (bound elbo)"."""
    return column.metric + (f" ({', '.join(column.words)})" if column.words else "")


def _lines(words: Sequence[str]) -> str:
    more = [f"and {len(words) - DIFFERENCES} more"] if len(words) > DIFFERENCES else []
    return "\n".join([*words[:DIFFERENCES], *more])


def _first_to_last(columns: Columns, first: Column | None) -> list[Column]:
    """The column that sorts, others of its metric, then those left in their order."""
    same = [column for column in columns.all if first and column.metric == first.metric]
    return list(dict.fromkeys([*([first] if first else []), *same, *columns.all]))


Row = tuple[dict[str, str], list[str]]  # words by their headings, and a number for each column of results


def _table(title: str, rows: Sequence[Row], columns: Sequence[Column], width: int) -> Table:
    """The rows with as many columns of results as there is room for, at least one: no digit is cut off.

    The column that says what differs is left out where nothing does.
    """
    headings = [name for name in rows[0][0] if name != DIFFERS or any(words[DIFFERS] for words, _ in rows)]
    table = Table(title=escape(title), title_justify="left")
    left = width - 1
    for name in headings:
        wide = name == DIFFERS
        longest = NARROWEST if wide else max(len(words[name]) for words, _ in rows)
        left -= max(longest, len(name)) + BETWEEN
        table.add_column(name, overflow="fold", no_wrap=not wide, min_width=NARROWEST if wide else None)
    shown_columns = 0
    for column, cells in zip(columns, zip(*(numbers for _, numbers in rows), strict=True), strict=True):
        above = [shown(column.metric).replace("_", " ") + BETTER[column.mode], *column.words]
        longest = max(map(len, [*cells, *" ".join(above).split(), *(line[:HEADING] for line in above)]))
        left -= longest + BETWEEN
        if left < 0 and shown_columns:
            break
        table.add_column(escape("\n".join(above)), justify="right", width=longest)
        shown_columns += 1
    for words, numbers in rows:
        table.add_row(*(escape(words[name]) for name in headings), *numbers[:shown_columns])
    return table


def _of_runs(rows: Sequence[Entry], columns: Columns, wanted: Sequence[Column], told: Told) -> list[Row]:
    made: list[Row] = []
    for row in rows:
        run, values = row.run, row.values(columns)
        words = {"run": run.name, DIFFERS: _lines([*told[id(run)], *row.way.words]), "seed": str(run.seed)}
        words |= {"status": run.status.state, "steps": str(run.status.step)}
        made.append((words, [number(values.get(column)) for column in wanted]))
    return made


def _of_seeds(groups: Sequence[Group], columns: Columns, wanted: Sequence[Column], told: Told) -> list[Row]:
    made: list[Row] = []
    for group in groups:
        for way in ways(group.spreads):
            about = _lines([*told[id(group.runs[0])], *way.words])
            words = {"run": group.runs[0].name, DIFFERS: about, "seeds": str(len(group.seeds))}
            found = columns.placed(way.results)
            made.append((words, [mean_and_spread(*found.get(column, [None])[:1]) for column in wanted]))
    return made
