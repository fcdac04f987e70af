"""Proposals by Optuna: proposal i is a function of the seed, of i, and of the jobs that have finished.

Only the directories of the jobs are stored. The study is in memory, and is rebuilt from them at each start.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from genmodels.seeds import fold
from genmodels.sweeps.jobs import Job
from genmodels.sweeps.space import Assignment, Choices, Dimension, SearchSpace
from genmodels.training.callbacks.pruning import DIRECTIONS, Mode, Reports

ATTEMPTS = 100  # draws for a job unlike all others, before the space counts as exhausted

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
logging.getLogger("optuna").setLevel(logging.ERROR)


class Study:
    """Proposes the values of jobs and learns from their results."""

    def __init__(self, space: SearchSpace, *, search: str, mode: Mode, seed: int, n_jobs: int):
        self.space = space
        self.search = search
        self.seed = seed
        self.n_jobs = n_jobs
        self.distributions = {dimension.key: distribution(dimension) for dimension in space.dimensions}
        self.study = optuna.create_study(direction=DIRECTIONS[mode])
        self.trials: dict[int, int] = {}  # number of a job -> number of its trial

    def remember(self, jobs: Iterable[Job]) -> None:
        """Adds the jobs that an earlier process has started or finished, in the order of their numbers."""
        for job in jobs:
            values = values_of(job)
            self.trials[job.number] = len(self.study.get_trials(deepcopy=False))
            state, reports = outcome(job)
            self.study.add_trial(
                create_trial(
                    state=state,
                    params={key: self._param(key, value) for key, value in values.items()},
                    distributions=self.distributions,
                    value=reports.last if state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
                    intermediate_values=reports.values if state.is_finished() else None,
                )
            )

    def _param(self, key: str, value: str) -> Any:
        kind = self.distributions[key]
        return {IntDistribution: int, FloatDistribution: float}.get(type(kind), str)(value)

    def proposals(self, number: int) -> Iterator[Assignment]:
        """Proposed values for the job of this number: take the next if an earlier job has the same."""
        for attempt in range(ATTEMPTS):
            self.study.sampler = self._sampler(fold(self.seed, number, attempt) % 2**32)
            trial = self.study.ask(self.distributions)
            self.trials[number] = trial.number
            yield {key: _text(value) for key, value in trial.params.items()}
            self.study.tell(trial, state=TrialState.FAIL)

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        if self.search == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, constant_liar=self.n_jobs > 1)

    def tell(self, job: Job) -> None:
        """Reports the result of a job to the study; a failed job only after it was tried again and succeeded."""
        state, reports = outcome(job)
        if not state.is_finished():
            return
        trial = optuna.Trial(self.study, self.study.get_trials(deepcopy=False)[self.trials[job.number]]._trial_id)
        for step, value in reports.values.items():
            trial.report(value, step)
        self.study.tell(trial, reports.last if state == TrialState.COMPLETE else None, state=state)


def outcome(job: Job) -> tuple[TrialState, Reports]:
    """A job's state in Optuna's terms, and its reports; one that ended without a finite value counts as failed."""
    state, reports = job.state(), Reports.read(job.directory)
    if state not in ("finished", "pruned"):
        return TrialState.RUNNING, reports
    if reports.last is None or not isfinite(reports.last):
        return TrialState.FAIL, reports
    return TrialState.COMPLETE if state == "finished" else TrialState.PRUNED, reports


def values_of(job: Job) -> Assignment:
    """The values of a job's overrides, by key."""
    return {key: value for key, _, value in (override.partition("=") for override in job.overrides)}


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension in Optuna's terms."""
    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value)
