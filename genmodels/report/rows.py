"""The rows of the page's tables."""

import json
from dataclasses import dataclass
from math import isfinite

from genmodels.report.baselines import Aim, aim_of
from genmodels.report.contents import Contents
from genmodels.report.gather import Run
from genmodels.report.metrics import chosen, comparable
from genmodels.report.seeds import Spread
from genmodels.report.words import duration, in_short, lines, mean_and_spread, number, with_spread


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a run."""

    metric: str
    text: str
    value: float | None  # None: not finite
    against: str  # the same for all that it may be laid beside
    protocol: str  # one line a fact
    more: int  # other records of this metric
    paper: str | None  # the published number beside it


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run."""

    number: int
    run: Run
    differs: list[str]
    time: str
    cells: list[Cell | None]


def rows(contents: Contents) -> list[Row]:
    """A row for each run, with a cell for each metric."""
    return [_row(contents, number, run) for number, run in enumerate(contents.runs)]


def _row(contents: Contents, number: int, run: Run) -> Row:
    time = ("at least " if run.killed and run.seconds is not None else "") + duration(run.seconds)
    aim = aim_of(run)
    cells = [_cell(run, metric, aim) for metric in contents.metrics]
    return Row(number=number, run=run, differs=contents.differs[number], time=time, cells=cells)


def _cell(run: Run, metric: str, aim: Aim | None) -> Cell | None:
    record = chosen(run.records, metric)
    if record is None:
        return None
    return Cell(
        metric=metric,
        text=with_spread(record.value, record.std),
        value=record.value if isfinite(record.value) else None,
        against=json.dumps(comparable(record.protocol), sort_keys=True, default=str),
        protocol="\n".join(f"{key}: {text}" for key, text in lines(record.protocol)),
        more=sum(other.key == metric for other in run.records) - 1,
        paper=f"paper: {number(aim.figure)}" if aim is not None and aim.metric == metric else None,
    )


@dataclass(frozen=True, kw_only=True)
class GroupRow:
    """Runs that differ in their seed only."""

    number: int
    run: Run  # the first
    differs: list[str]
    seeds: str
    cells: list[tuple[str, float | None, str]]  # mean and spread, the mean, how it was measured


def group_rows(contents: Contents) -> list[GroupRow]:
    """A row for each group of several seeds."""
    return [_group_row(contents, n) for n, group in enumerate(contents.groups) if len(group.seeds) > 1]


def _group_row(contents: Contents, n: int) -> GroupRow:
    group = contents.groups[n]
    cells = [_mean(group.spread(metric), len(group.seeds)) for metric in contents.metrics]
    seeds = ", ".join(map(str, group.seeds))
    first = contents.group_of.index(n)
    return GroupRow(number=n, run=group.runs[0], differs=contents.differs[first], seeds=seeds, cells=cells)


def _mean(spread: Spread | None, seeds: int) -> tuple[str, float | None, str]:
    if spread is None:
        return "", None, ""
    some = f" (n = {spread.n})" if spread.n < seeds else ""
    mean = spread.mean if isfinite(spread.mean) else None
    return mean_and_spread(spread) + some, mean, in_short(spread.protocol)
