"""The console output of a sweep: counts of jobs, a line for each job, the table at the end, how to continue."""

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

ALONE = {
    "finished": "finished",
    "pruned": "pruned",
    "running": "running in another process",
}  # states that need no more work, in words
DUE = {"begun": "continue", "failed": "are tried again"}


class SweepOutput:
    """Prints the progress and results of one sweep."""

    def __init__(self, sweep_dir: Path, metric: str | None, mode: Mode | None, command: str):
        self.sweep_dir = sweep_dir
        self.metric = metric  # the metric that the sweep optimises
        self.mode = mode  # whether low or high values are better
        self.command = command  # continues the sweep
        self.seconds: list[float] = []  # duration of each job
        self.since = 0.0

    def begins(self, jobs: Sequence[Job], total: int) -> None:
        """Prints the number of jobs by state, and the command that continues the sweep if it is killed."""
        states: Counter[str] = Counter(job.state() for job in jobs)
        known = [f"{states[state]} {words}" for state, words in (ALONE | DUE).items() if states[state]]
        new = total - sum(states[state] for state in ALONE | DUE)
        counts = ", ".join([*known, *([f"{new} are new"] if new > 0 else [])])
        jobs_in = f"sweep of {total} job{'s' if total != 1 else ''} in {self.sweep_dir}"
        _line(f"{jobs_in}: {counts}" if known else jobs_in)
        _line(f"if it is stopped, continue it with: {self.command}")

    def launches(self, batch: Sequence[Job], done: int, total: int) -> None:
        """Prints which jobs run next, after `done` jobs, and the time left once it can be estimated."""
        self.since = time.monotonic()
        left = f"; about {_span(self._left(total - done))} left" if self.seconds else ""
        if len(batch) == 1:
            _line(f"job {done + 1} of {total}: {batch[0].words}{left}")
        else:
            _line(f"jobs {done + 1} to {done + len(batch)} of {total} are handed to the launcher{left}")

    def _left(self, jobs: int) -> float:
        return jobs * sum(self.seconds) / len(self.seconds)

    def ended(self, batch: Sequence[Job]) -> None:
        """Prints which of the jobs were pruned, and why."""
        self.seconds += [(time.monotonic() - self.since) / len(batch)] * len(batch)
        for job in batch:
            if job.state() == "pruned":
                _line(f"{job.directory.name} is pruned: {(job.directory / PRUNED).read_text().strip()}")

    def table(self) -> None:
        """Prints all jobs, best first, the sweep's directory, and the command that continues it."""
        runs = [self._with_metric(run) for run in gather([self.sweep_dir]).runs]
        if runs:
            show(runs, self.metric, console)
        _line(f"sweep     {self.sweep_dir}")
        _line(f"continue  {self.command}")

    def _with_metric(self, run: Run) -> Run:
        """A run whose results begin with the newest value of the metric, with the protocol of that value."""
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
        """Prints the command that continues an interrupted sweep."""
        print(f"genmodels: continue the whole sweep, including this job: {self.command}", file=sys.stderr, flush=True)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _line(text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
