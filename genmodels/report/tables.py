"""The tables of runs on a terminal, best first, with as many columns as fit."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genmodels.evaluators.results import BETTER
from genmodels.report.columns import Column, Columns
from genmodels.report.differences import told_apart
from genmodels.report.entries import Entry, best_first, common_column, entries
from genmodels.report.seeds import alone, over_seeds
from genmodels.report.words import plural
from genmodels.run.run import Run

DIFFERENCES = 4  # lines of a cell
NARROWEST = 18  # characters of the column that says what differs
HEADING = 12  # characters that a line of a heading may need at least
GAP = 3  # characters between two columns: a line with a space on either side
DIFFERS = "what differs"  # heading of that column

Told = dict[Run, list[str]]  # what distinguishes a run from others
Line = tuple[dict[str, str], Entry]  # cells before the results by heading, and the row with the results


def show(runs: Sequence[Run], metric: str | None, console: Console) -> None:
    """Prints a table for each dataset, best row first, one over seeds where there are several, and then errors."""
    told = told_apart(runs)
    for dataset in sorted({run.dataset for run in runs}):
        _show([run for run in runs if run.dataset == dataset], metric, told, console)
    for run in runs:
        if run.status.error:
            said = f"{run.path}: {run.status.state}: {run.status.error}"
            console.print(said, soft_wrap=True, highlight=False, markup=False)


def _show(runs: Sequence[Run], metric: str | None, told: Told, console: Console) -> None:
    dataset, rows, columns = runs[0].dataset, entries(alone(runs)), Columns(alone(runs))
    first = common_column(rows, columns, metric)
    best = f", best {first} first" if first else ", no results yet"
    rows = best_first(rows, columns, first)
    lines = [(_about(row, told) | _state(row.run), row) for row in rows]
    console.print(_table(f"{dataset}: {plural(len(runs), 'run')}{best}", lines, columns, first, console.width))
    groups = [group for group in over_seeds(dict.fromkeys(row.run for row in rows)) if len(group.seeds) > 1]
    if lines := [(_about(row, told) | {"seeds": str(len(row.group.seeds))}, row) for row in entries(groups)]:
        title = f"{dataset}: mean ± standard deviation over seeds"
        console.print(_table(title, lines, columns, first, console.width))


def _about(row: Entry, told: Told) -> dict[str, str]:
    words = [*told[row.run], *row.way]
    more = [f"and {len(words) - DIFFERENCES} more"] if len(words) > DIFFERENCES else []
    return {"run": row.run.name, DIFFERS: "\n".join([*words[:DIFFERENCES], *more])}


def _state(run: Run) -> dict[str, str]:
    return {"seed": str(run.seed), "status": run.status.state, "steps": str(run.status.step)}


def _table(title: str, lines: Sequence[Line], columns: Columns, first: Column | None, width: int) -> Table:
    """The rows with as many columns of results as fit, at least one; no digit is cut off.

    The column of differences is left out where there are none.
    """
    about = [words for words, _ in lines]
    headings = [name for name in about[0] if name != DIFFERS or any(words[DIFFERS] for words in about)]
    cells = [[escape(words[name]) for name in headings] for words in about]
    table = Table(title=escape(title), title_justify="left")
    left = width - 1
    for name in headings:
        wide = name == DIFFERS
        table.add_column(name, overflow="fold", no_wrap=not wide, min_width=NARROWEST if wide else None)
        longest = NARROWEST if wide else max(len(words[name]) for words in about)
        left -= max(longest, len(name)) + GAP
    shown = [(row.shown(columns), len(row.group.seeds)) for _, row in lines]
    for column in columns.begun_with(first):
        above = [column.metric.removeprefix("test/").replace("_", " ") + BETTER[column.mode], *column.words]
        numbers = [found[column].text(seeds) if column in found else "" for found, seeds in shown]
        longest = max(map(len, [*numbers, *" ".join(above).split(), *(line[:HEADING] for line in above)]))
        left -= longest + GAP
        if left < 0 and len(table.columns) > len(headings):
            break
        table.add_column(escape("\n".join(above)), justify="right", width=longest)
        cells = [[*line, number] for line, number in zip(cells, numbers, strict=True)]
    for line in cells:
        table.add_row(*line)
    return table
