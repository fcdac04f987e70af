"""Runs best first, and their tables on a terminal."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genmodels.report.differences import differences, labels
from genmodels.report.gather import Run
from genmodels.report.metrics import better, chosen, keys
from genmodels.report.seeds import Group, over_seeds
from genmodels.report.words import mean_and_spread, number, plural, shown

DIFFERENCES = 4  # lines of a cell
WIDTH = 14  # of a column of results, about

Told = dict[int, str]  # id of a run -> what tells it from others


def value(run: Run, metric: str) -> float | None:
    """The number that stands for a metric in a run; None where it has none, or one that is not finite."""
    record = chosen(run.records, metric)
    return None if record is None or not isfinite(record.value) else record.value


def common_metric(runs: Sequence[Run]) -> str | None:
    """The first result that all finished runs share, or else the first of those that most have; None without any."""
    finished = [run for run in runs if run.status == "finished"] or runs
    held = Counter(record.key for run in finished for record in {record.key: record for record in run.records}.values())
    every = keys(record for run in finished for record in run.records)
    return max(every, key=lambda metric: held[metric], default=None)


def best_first(runs: Sequence[Run], metric: str | None = None) -> list[Run]:
    """The runs by a result (None: `common_metric`), the best one first and those without it last."""
    metric = metric or common_metric(runs)

    def rank(run: Run) -> tuple[bool, float]:
        number = None if metric is None else value(run, metric)
        return number is None, 0.0 if number is None or metric is None else better(metric, number)

    return sorted(runs, key=rank)


def sorting(runs: Sequence[Run], metric: str | None) -> str | None:
    """The metric that was asked for, where any of the runs has it; else one that they share."""
    return metric if metric and any(value(run, metric) is not None for run in runs) else common_metric(runs)


def show(runs: Sequence[Run], metric: str | None, console: Console) -> None:
    """A table for each dataset, best run first, then one over seeds where there are several; errors stand below."""
    told = {id(run): _lines(words) for run, words in zip(runs, labels(differences(runs)), strict=True)}
    for dataset in sorted({run.dataset for run in runs}):
        members = [run for run in runs if run.dataset == dataset]
        first = sorting(members, metric)
        columns = _columns(members, first, console.width)
        ordered = best_first(members, first)
        best = f", best {first} first" if first else ", no results yet"
        console.print(_of_runs(ordered, columns, told, f"{dataset}: {plural(len(members), 'run')}{best}"))
        if groups := [group for group in over_seeds(ordered) if len(group.seeds) > 1]:
            console.print(_of_seeds(groups, columns, told, f"{dataset}: mean ± standard deviation over seeds"))
    for run in runs:
        if run.error:
            console.print(f"{run.path}: {run.status}: {run.error}", soft_wrap=True, highlight=False, markup=False)


def _lines(words: Sequence[str]) -> str:
    more = [f"and {len(words) - DIFFERENCES} more"] if len(words) > DIFFERENCES else []
    return "\n".join([*words[:DIFFERENCES], *more])


def _columns(runs: Sequence[Run], first: str | None, width: int) -> list[str]:
    """The metric that sorts, then others in the order of the results, as many as there is room for."""
    every = dict.fromkeys([first, *keys(record for run in runs for record in run.records)])
    return [metric for metric in every if metric is not None][: max(1, (width - 60) // WIDTH)]


def _table(words: Iterable[str], metrics: Iterable[str], title: str) -> Table:
    table = Table(title=escape(title), title_justify="left")
    for word in words:
        wide = word == "what differs"
        table.add_column(word, overflow="fold", no_wrap=not wide, min_width=18 if wide else None)
    for metric in metrics:
        table.add_column(escape(shown(metric).replace("_", " ")), justify="right")
    return table


def _without(differs: bool, *words: str) -> tuple[str, ...]:
    """The words of a row, the second one only where runs differ."""
    return words if differs else (words[0], *words[2:])


def _of_runs(runs: Sequence[Run], metrics: Sequence[str], told: Told, title: str) -> Table:
    differs = any(told.values())
    table = _table(_without(differs, "run", "what differs", "seed", "status", "steps"), metrics, title)
    for run in runs:
        words = _without(differs, run.name, told[id(run)], str(run.seed), run.status, str(run.step))
        table.add_row(*map(escape, words), *(number(value(run, metric)) for metric in metrics))
    return table


def _of_seeds(groups: Sequence[Group], metrics: Sequence[str], told: Told, title: str) -> Table:
    differs = any(told.values())
    table = _table(_without(differs, "run", "what differs", "seeds"), metrics, title)
    for group in groups:
        words = _without(differs, group.runs[0].name, told[id(group.runs[0])], str(len(group.seeds)))
        table.add_row(*map(escape, words), *(mean_and_spread(group.spread(metric)) for metric in metrics))
    return table
