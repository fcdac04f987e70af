"""Everything that a report shows, computed once for its page, its Markdown and its CSV."""

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from genmodels.config.schema import Baseline
from genmodels.errors import UserError
from genmodels.report.columns import Column, Columns
from genmodels.report.curves import thinned
from genmodels.report.differences import told_apart
from genmodels.report.entries import Entry, best_first, common_column, entries
from genmodels.report.gather import FoundRuns, Skipped, Track
from genmodels.report.ledger.experiments import aim_in
from genmodels.report.pictures import as_urls, last_grid
from genmodels.report.seeds import SeedGroup, alone, over_seeds
from genmodels.run import layout
from genmodels.run.curves import Curves
from genmodels.run.run import Run


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The contents of a report. The page refers to runs by their number in `runs`, to groups by that in `groups`."""

    runs: list[Run]  # by dataset, best first
    number: dict[Run, int]
    entries: list[Entry]  # the rows of tables, in the same order
    groups: list[SeedGroup]
    group_of: dict[Run, int]  # the number of each run's group
    over_seeds: list[Entry]  # the rows of tables with mean and spread
    columns: Columns
    order: list[Column]  # all columns; those of the requested metric first
    sorted_by: Column | None  # the column that sorts all rows; None where each dataset has its own, or none
    told: dict[Run, list[str]]  # what distinguishes a run from others
    aims: dict[Run, Baseline]  # the published numbers that runs aim at
    curves: dict[Run, Curves]  # with no more points than can be seen
    pictures: dict[Run, str]  # a run's newest grid as a URL
    skipped: list[Skipped]

    def columns_of(self, rows: list[Entry]) -> list[Column]:
        """The columns in which these rows have results."""
        there = {column for row in rows for column in row.shown(self.columns)}
        return [column for column in self.order if column in there]

    def words(self, row: Entry) -> list[str]:
        """What distinguishes a row from others."""
        return [*self.told[row.run], *row.way]


def contents(found: FoundRuns, metric: str | None, track: Track = iter) -> Contents:
    """The contents for the found runs, sorted by `metric` (None: for each dataset one that its runs share)."""
    every = alone(found.runs)
    columns = Columns(every)
    by_dataset = [
        entries(group for group in every if group.run.dataset == dataset)
        for dataset in sorted({run.dataset for run in found.runs})
    ]
    sorting = [common_column(rows, columns, metric) for rows in by_dataset]
    curves, pictures = _files(found, track)
    rows = [row for rows, by in zip(by_dataset, sorting, strict=True) for row in best_first(rows, columns, by)]
    runs = list(dict.fromkeys(row.run for row in rows))
    groups = over_seeds(runs)
    return Contents(
        runs=runs,
        number={run: number for number, run in enumerate(runs)},
        entries=rows,
        groups=groups,
        group_of={run: number for number, group in enumerate(groups) for run in group.runs},
        over_seeds=entries(groups),
        columns=columns,
        order=sorted(columns.all, key=lambda column: column.metric != metric),
        sorted_by=sorting[0] if len(sorting) == 1 else None,
        told=told_apart(found.runs),
        aims={run: aim for run in found.runs if (aim := _aim_of(run))},
        curves=curves,
        pictures=pictures,
        skipped=found.skipped,
    )


def _files(found: FoundRuns, track: Track) -> tuple[dict[Run, Curves], dict[Run, str]]:
    """Curves and grids of samples; damaged files are skipped and listed."""
    curves: dict[Run, Curves] = {}
    grids: dict[Run, bytes] = {}
    for run in track(found.runs):
        curves[run] = found.read(run.file(layout.CURVES), partial(getattr, run, "series")) or {}
        if grid := found.read(run.file(layout.NEWEST_GRID), partial(last_grid, run.path)):
            grids[run] = grid
    return thinned(curves), as_urls(grids)


def _aim_of(run: Run) -> Baseline | None:
    """The published number that the run is compared with; None where its config has none that can be read.

    Only the ledger checks whether a run kept the settings of its experiment.
    """
    with suppress(UserError):
        return aim_in(run.config)
    return None
