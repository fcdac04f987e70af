"""Jobs of a sweep: run directories SWEEP_DIR/<number>_<what differs>/, each with a job.json that says what it runs."""

import fcntl
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from genmodels.disk.atomic import write_text
from genmodels.errors import UserError
from genmodels.run.layout import CONFIG, HISTORY, JOB, RESULTS
from genmodels.run.status import status_of
from genmodels.sweeps.job_names import directory_name

JobState = Literal["finished", "pruned", "failed", "running", "begun", "new"]


@dataclass(frozen=True)
class Job:
    """A job's number and overrides; its state is read from its directory, which is made when the job starts."""

    number: int
    identity: str  # hash of what is run
    overrides: tuple[str, ...]  # those that differ between jobs
    directory: Path

    def write(self) -> None:
        """Writes job.json, by which a later process recognizes the job."""
        facts = {key: value for key, value in asdict(self).items() if key != "directory"}
        write_text(self.directory / JOB, json.dumps(facts, indent=2) + "\n")

    @property
    def words(self) -> str:
        """The overrides that differ between jobs, such as "model.beta=2 seed=1"."""
        return " ".join(self.overrides) or "nothing is swept"

    def state(self) -> JobState:
        """The state of the job now."""
        if _is_locked(self.directory / HISTORY):
            return "running"
        status = status_of(self.directory).state
        if status == "pruned" or status == "failed":
            return status
        if status == "finished" and (self.directory / RESULTS).is_file():
            return "finished"
        return "begun" if (self.directory / CONFIG).exists() else "new"


def _is_locked(file: Path) -> bool:
    """Whether a process holds the lock of this file, which means that it trains there."""
    if not file.exists():
        return False
    with file.open("r+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_jobs(sweep_dir: Path) -> list[Job]:
    """The jobs in a sweep directory, by number; UserError where a job.json is damaged."""
    return sorted((_read(file) for file in sweep_dir.glob(f"*/{JOB}")), key=lambda job: job.number)


def _read(file: Path) -> Job:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        job = Job(facts["number"], facts["identity"], tuple(facts["overrides"]), file.parent)
        whole = isinstance(job.number, int) and all(isinstance(word, str) for word in (job.identity, *job.overrides))
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"{file} is damaged; remove {file.parent}, so that this job runs again")
    return job


class Register:
    """The jobs of a sweep by the hash of what they run; a new job gets the number after the highest."""

    def __init__(self, sweep_dir: Path, name: str):
        self.sweep_dir = sweep_dir
        self.name = name  # of a job without overrides
        self.jobs = {job.identity: job for job in read_jobs(sweep_dir)}
        numbers = (re.match(r"\d+(?=_)", path.name) for path in sweep_dir.glob("*_*"))
        self.next = max((int(found[0]) for found in numbers if found), default=-1) + 1

    def job(self, identity: str, overrides: Sequence[str]) -> Job:
        """The job with this identity, old or new, with the present overrides."""
        if known := self.jobs.get(identity):
            job = replace(known, overrides=tuple(overrides))
        else:
            folder = self.sweep_dir / directory_name(self.next, overrides, self.name)
            job = Job(self.next, identity, tuple(overrides), folder)
            self.next += 1
        self.jobs[identity] = job
        return job
