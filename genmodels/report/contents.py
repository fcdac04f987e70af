"""All that a report shows, worked out once for its page, its Markdown and its CSV."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genmodels.errors import UserError
from genmodels.report.baselines import Beside, beside_papers
from genmodels.report.columns import Column, Columns
from genmodels.report.curves import points_of_each, thinned
from genmodels.report.differences import differences, labels
from genmodels.report.figures import Measured, figures, measured
from genmodels.report.gather import Gathered, Skipped, Track
from genmodels.report.pictures import as_urls, last_grid
from genmodels.report.seeds import Group, over_seeds
from genmodels.report.tables import Entry, best_first, columns_of, common_column, entries
from genmodels.run import layout
from genmodels.run.curves import Curves
from genmodels.run.run import Run


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Runs are known by their number in `runs`, groups by theirs in `groups`."""

    runs: list[Run]  # by dataset, best first
    entries: list[Entry]  # the rows, likewise
    columns: Columns
    order: list[Column]  # all columns, those of the metric that was asked for first
    sorted_by: Column | None  # what sorts all rows; None where each dataset has its own, or none
    differs: list[list[str]]  # of each run what tells it from others, as words
    groups: list[Group]
    group_of: list[int]  # each run's
    ways: list[Measured]
    figures: dict[str, bool]  # which of them there are data for
    beside: list[Beside]
    curves: list[Curves]  # of each run, with as many points as can be seen
    pictures: dict[int, str]  # a run's newest grid as a URL
    skipped: list[Skipped]

    def number_of(self, run: Run) -> int:
        """The number of a run."""
        return next(number for number, other in enumerate(self.runs) if other is run)


def contents(found: Gathered, metric: str | None, track: Track = iter) -> Contents:
    """Everything about the runs that were found, sorted by `metric` (None: in each dataset one that its runs share)."""
    columns = columns_of(found.runs)
    rows = ordered(found.runs, columns, metric)
    runs = list({id(row.run): row.run for row in rows}.values())
    groups = over_seeds(runs)
    numbers = {id(run): number for number, group in enumerate(groups) for run in group.runs}
    curves, pictures, skipped = _files(runs, track)
    measured_ways = measured(groups)
    return Contents(
        runs=runs,
        entries=rows,
        columns=columns,
        order=sorted(columns.all, key=lambda column: column.metric != metric),
        sorted_by=common_column(rows, columns, metric) if len({run.dataset for run in runs}) == 1 else None,
        differs=labels(differences(runs)),
        groups=groups,
        group_of=[numbers[id(run)] for run in runs],
        ways=measured_ways,
        figures=figures(measured_ways, groups),
        beside=beside_papers(groups),
        curves=curves,
        pictures=pictures,
        skipped=[*found.skipped, *skipped],
    )


def ordered(runs: Sequence[Run], columns: Columns, metric: str | None) -> list[Entry]:
    """The rows by the names of datasets, and in each the best first."""
    sets: dict[str, list[Entry]] = {name: [] for name in sorted({run.dataset for run in runs})}
    for row in entries(runs):
        sets[row.run.dataset].append(row)
    return [row for rows in sets.values() for row in best_first(rows, columns, common_column(rows, columns, metric))]


def _files(runs: Sequence[Run], track: Track) -> tuple[list[Curves], dict[int, str], list[Skipped]]:
    """Curves and grids; a damaged one is left out and named."""
    curves: list[Curves] = []
    grids: dict[int, bytes] = {}
    skipped: list[Skipped] = []
    for number, run in enumerate(track(runs)):
        curves.append({})
        try:
            curves[number] = run.series
        except UserError as error:
            skipped.append(_skipped(run.file(layout.CURVES), error))
        try:
            if grid := last_grid(run.path):
                grids[number] = grid
        except UserError as error:
            skipped.append(_skipped(run.file(layout.NEWEST_GRID), error))
    most = points_of_each(sum(len(columns) for columns in curves))
    thin = [{name: thinned(points, most) for name, points in columns.items()} for columns in curves]
    return thin, as_urls(grids), skipped


def _skipped(file: Path, error: UserError) -> Skipped:
    return Skipped(file, str(error).removeprefix(f"{file} "))
