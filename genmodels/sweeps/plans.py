"""The jobs of a sweep: all combinations of a grid, or the proposals of a search, one after the other."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from genmodels.sweeps.composing import Composer, identity
from genmodels.sweeps.jobs import Job, Register
from genmodels.sweeps.space import Assignment, SearchSpace

if TYPE_CHECKING:
    from genmodels.sweeps.study import Study  # Optuna: a grid needs none


class Plan(ABC):
    """Gives the jobs of a sweep one batch after the other."""

    total: int  # jobs of the whole sweep, including finished ones

    @abstractmethod
    def batches(self, at_once: int | None) -> Iterator[list[Job]]:
        """Batches of the jobs that must still run, at most `at_once` each; drawn when the batch before has ended."""

    @abstractmethod
    def tell(self, job: Job) -> None:
        """Takes note that a job has ended."""


def is_due(job: Job) -> bool:
    """Whether a job must still run, and is not running elsewhere."""
    return job.state() in ("new", "begun", "failed")


class Grid(Plan):
    """All combinations."""

    def __init__(self, composed: Sequence[tuple[str, list[str]]], register: Register):
        jobs = {name: register.job(name, overrides) for name, overrides in composed}
        self.jobs = sorted(jobs.values(), key=lambda job: job.number)
        self.total = len(self.jobs)

    def batches(self, at_once: int | None) -> Iterator[list[Job]]:
        due = [job for job in self.jobs if is_due(job)]
        size = at_once or max(len(due), 1)
        yield from (due[i : i + size] for i in range(0, len(due), size))

    def tell(self, job: Job) -> None:
        """Does nothing: the other jobs do not depend on it."""


class Search(Plan):
    """First the unfinished jobs of an earlier process, then the proposals of a study."""

    def __init__(
        self, study: "Study", space: SearchSpace, composer: Composer, register: Register, n_trials: int | None
    ):
        self.study, self.space, self.composer, self.register = study, space, composer, register
        self.total = n_trials or 0
        self.seen: list[Assignment] = []  # proposals so far
        self.left = [job for job in self.register.jobs.values() if is_due(job)]
        study.remember(sorted(register.jobs.values(), key=lambda job: job.number))

    def batches(self, at_once: int | None) -> Iterator[list[Job]]:
        jobs = self._jobs()
        while batch := list(islice(jobs, at_once)):
            yield batch

    def _jobs(self) -> Iterator[Job]:
        yield from self.left
        while len(self.register.jobs) < self.total:
            job = self._new()
            if job is None:
                return
            yield job

    def _new(self) -> Job | None:
        """A job that differs from all others; None where the space seems to have no more."""
        for values in self.study.proposals(self.register.next):
            if values in self.seen:
                continue
            self.seen.append(values)
            overrides = self.space.overrides(values)
            name = identity(self.composer.config_of(self.space.fixed, overrides), self.space.keys())
            if name not in self.register.jobs:
                return self.register.job(name, overrides)
        return None

    def tell(self, job: Job) -> None:
        self.study.tell(job)
