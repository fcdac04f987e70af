"""Makes the result of a run directory: whether it is the experiment's run, how it ended, and what it measured."""

import re
from dataclasses import dataclass
from pathlib import Path

from genmodels.report.gather import gather
from genmodels.report.ledger.experiments import Experiment, command_of, deviations, in_words, portable
from genmodels.report.ledger.results import OF_FORMAT, Result
from genmodels.run.layout import CONFIG
from genmodels.run.run import Run
from genmodels.run.status import Status, status_of

PATHS = re.compile(r"(?<![\w./:-])[~/][^\s,;:'\"()]*/([^\s,;:'\"()/]+)")  # absolute paths; group: the last name


@dataclass(frozen=True)
class Attempt:
    """One training of an experiment."""

    experiment: Experiment
    seed: int
    folder: Path  # of the run

    def __str__(self) -> str:
        return f"{self.experiment.name} seed {self.seed}"


@dataclass(frozen=True)
class Found:
    """The content of the directory of an attempt."""

    attempt: Attempt
    run: Run | None = None  # None: no run
    trouble: str | None = None  # why it can be neither used nor continued

    @property
    def status(self) -> Status:
        return status_of(self.attempt.folder)

    @property
    def finished(self) -> bool:
        return self.run is not None and self.status.state == "finished"


def look(attempt: Attempt) -> Found:
    """What is in the directory, and whether it is the right run."""
    if not (attempt.folder / CONFIG).is_file():
        return Found(attempt)
    gathered = gather([attempt.folder])
    if gathered.skipped:
        trouble = f"{gathered.skipped[0].path} {gathered.skipped[0].reason}; move it away to run it again"
        return Found(attempt, trouble=trouble)
    return Found(attempt, gathered.runs[0], _trouble(gathered.runs[0], attempt))


def _trouble(run: Run, attempt: Attempt) -> str | None:
    if run.seed != attempt.seed:
        return f"{run.path} holds a run with seed {run.seed}; move it away, or give another out=DIR"
    if other := deviations(run.config, attempt.experiment):
        return f"{run.path} holds a run of another config: {in_words(other)}; move it away to run it again"
    return None


def result_of(found: Found, *, failed_with: str | None = None, exit_status: int = 0) -> Result:
    """The result of a finished run, or of one that failed with a sentence."""
    status, experiment, seed = found.status, found.attempt.experiment, found.attempt.seed
    config = found.run.config if found.run else {**experiment.config, "seed": seed}
    records = found.run.results if found.run and failed_with is None else []
    return Result(
        version=OF_FORMAT,
        experiment=experiment.name,
        seed=seed,
        status="finished" if failed_with is None else "failed",
        error=PATHS.sub(r"\1", failed_with) if failed_with is not None else None,
        exit=exit_status,
        command=command_of(config, experiment),
        date=status.began,
        seconds=None if status.seconds is None else round(status.seconds, 1),
        steps=status.step,
        **{fact: getattr(status, fact) for fact in ("killed", "images_seen", "hardware", "torch", "commit")},
        config=portable(config),
        records=[record.to_dict() for record in records],
    )
