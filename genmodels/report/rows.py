"""The rows of the page's tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from genmodels.evaluators.results import Record
from genmodels.report.baselines import aim_of
from genmodels.report.columns import Column
from genmodels.report.contents import Contents
from genmodels.report.metrics import as_text, compared
from genmodels.report.seeds import Group, Spread
from genmodels.report.tables import Entry
from genmodels.report.ways import Way, ways
from genmodels.report.words import duration, in_short, lines, mean_and_spread, number, with_spread
from genmodels.run.run import Run


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a run."""

    metric: str
    text: str
    value: float | None  # None: not finite
    against: str  # the same for all that it may be laid beside
    protocol: str  # one line a fact
    more: int  # other records that would stand here
    paper: str | None  # the published number beside it


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run in one of the ways in which it was sampled."""

    number: int
    run: Run
    differs: list[str]
    time: str
    cells: list[Cell | None]


def rows(contents: Contents) -> list[Row]:
    """A row for each run, and for each further way in which it was sampled, with a cell for each column."""
    return [_row(contents, entry) for entry in contents.entries]


def _row(contents: Contents, entry: Entry) -> Row:
    run, number = entry.run, contents.number_of(entry.run)
    time = ("at least " if run.status.killed and run.status.seconds is not None else "") + duration(run.status.seconds)
    found = contents.columns.placed(entry.way.results)
    cells = [_cell(run, column, found[column]) if column in found else None for column in contents.order]
    return Row(number=number, run=run, differs=contents.differs[number] + entry.way.words, time=time, cells=cells)


def _cell(run: Run, column: Column, records: Sequence[Record]) -> Cell:
    record = records[0]
    return Cell(
        metric=column.metric,
        text=with_spread(record.value, record.std),
        value=record.value if isfinite(record.value) else None,
        against=as_text(compared(record.protocol)),
        protocol="\n".join(f"{key}: {text}" for key, text in lines(record.protocol)),
        more=len(records) - 1,
        paper=_papers(run, record),
    )


def _papers(run: Run, record: Record) -> str | None:
    aim = aim_of(run)
    return f"paper: {number(aim.figure)}" if aim is not None and aim.metric == record.key else None


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """Runs that differ in their seed only, in one of the ways in which they were sampled."""

    number: int
    run: Run  # the first
    differs: list[str]
    seeds: str
    cells: list[tuple[str, float | None, str]]  # mean and spread, the mean, how it was measured


def group_rows(contents: Contents) -> list[GroupRow]:
    """The rows of each group of several seeds."""
    several = [(n, group) for n, group in enumerate(contents.groups) if len(group.seeds) > 1]
    return [_group_row(contents, n, group, way) for n, group in several for way in ways(group.spreads)]


def _group_row(contents: Contents, n: int, group: Group, way: Way[Spread]) -> GroupRow:
    found = contents.columns.placed(way.results)
    cells = [_mean(found[column][0] if column in found else None, len(group.seeds)) for column in contents.order]
    differs = contents.differs[contents.group_of.index(n)] + way.words
    seeds = ", ".join(map(str, group.seeds))
    return GroupRow(number=n, run=group.runs[0], differs=differs, seeds=seeds, cells=cells)


def _mean(spread: Spread | None, seeds: int) -> tuple[str, float | None, str]:
    if spread is None:
        return "", None, ""
    some = f" (n = {spread.n})" if spread.n < seeds else ""
    mean = spread.mean if isfinite(spread.mean) else None
    return mean_and_spread(spread) + some, mean, in_short(spread.protocol)
