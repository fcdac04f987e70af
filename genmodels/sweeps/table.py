"""What a person reads of a sweep: what there is to do, a line between its jobs, the table at the end, how to go on."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genmodels.console import console
from genmodels.evaluators.results import Record
from genmodels.report.gather import gather
from genmodels.report.tables import show
from genmodels.run.layout import PRUNED
from genmodels.run.run import Run
from genmodels.sweeps.jobs import Job
from genmodels.training.callbacks.pruning import Mode, Reports

ALONE = {"finished": "finished", "pruned": "pruned", "running": "running in another process"}  # no more to be done
DUE = {"begun": "go on", "failed": "are tried again"}


class Said:
    """Speaks of one sweep."""

    def __init__(self, sweep_dir: Path, metric: str | None, mode: Mode | None, command: str):
        self.sweep_dir = sweep_dir
        self.metric = metric  # that the sweep follows
        self.mode = mode  # which way it is better
        self.command = command  # that goes on with it
        self.seconds: list[float] = []  # that jobs took
        self.since = 0.0

    def begins(self, jobs: Sequence[Job], total: int) -> None:
        """How many jobs there are, what is left of an earlier process, and how to go on should this one be killed."""
        states: Counter[str] = Counter(job.state() for job in jobs)
        known = [f"{states[state]} {words}" for state, words in (ALONE | DUE).items() if states[state]]
        new = total - sum(states[state] for state in ALONE | DUE)
        counts = ", ".join([*known, *([f"{new} are new"] if new > 0 else [])])
        jobs_in = f"sweep of {total} job{'s' if total != 1 else ''} in {self.sweep_dir}"
        _line(f"{jobs_in}: {counts}" if known else jobs_in)
        _line(f"if it is stopped, it goes on with: {self.command}")

    def launches(self, batch: Sequence[Job], done: int, total: int) -> None:
        """What runs next, after `done` jobs, and the time left once it can be told."""
        self.since = time.monotonic()
        left = f"; about {_span(self._left(total - done))} left" if self.seconds else ""
        if len(batch) == 1:
            _line(f"job {done + 1} of {total}: {batch[0].words}{left}")
        else:
            _line(f"jobs {done + 1} to {done + len(batch)} of {total} are handed to the launcher{left}")

    def _left(self, jobs: int) -> float:
        return jobs * sum(self.seconds) / len(self.seconds)

    def ended(self, batch: Sequence[Job]) -> None:
        """Which of the jobs were pruned, and why."""
        self.seconds += [(time.monotonic() - self.since) / len(batch)] * len(batch)
        for job in batch:
            if job.state() == "pruned":
                _line(f"{job.directory.name} is pruned: {(job.directory / PRUNED).read_text().strip()}")

    def table(self) -> None:
        """All jobs, best first, and where they lie."""
        runs = [self._with_metric(run) for run in gather([self.sweep_dir]).runs]
        if runs:
            show(runs, self.metric, console)
        _line(f"sweep     {self.sweep_dir}")
        _line(f"goes on   {self.command}")

    def _with_metric(self, run: Run) -> Run:
        """A run with the newest value of the metric before its results, and with the protocol of that value."""
        reports = Reports.read(run.path)
        if self.metric is None or reports.last is None:
            return run
        split, _, name = self.metric.partition("/")
        protocol = (reports.record or {}).get("protocol", {})
        record = Record(metric=name, split=split, value=reports.last, std=None, protocol=protocol, mode=self.mode)
        followed = Run(run.path)
        followed.results = [record, *run.results]
        return followed

    def interrupted(self) -> None:
        """How to go on."""
        print(f"genmodels: go on with the whole sweep, this job too: {self.command}", file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _line(text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
