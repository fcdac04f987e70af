"""A sweep from its settings to its table: finds its jobs, runs those that must still run, shows the results."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, read_write

from genmodels.config.paths import quoted
from genmodels.errors import UserError
from genmodels.failures import FAULT, explain
from genmodels.sweeps import directory, metric, settings, space
from genmodels.sweeps.composing import Composer, identity, what_is_run
from genmodels.sweeps.failed import JobFailed
from genmodels.sweeps.jobs import Job, Register
from genmodels.sweeps.plans import Grid, Plan, Search, is_due
from genmodels.sweeps.table import SweepOutput

ONE_BY_ONE = "basic"  # Hydra's launcher that runs jobs in this process, one after the other
OF_STUDY = ("search", "seed", "pruner")  # settings that change the proposals of a search


class Sweep:
    """The work of the Hydra sweeper."""

    def __init__(self, node: Mapping[str, Any], context: HydraContext, task: TaskFunction, config: DictConfig):
        HydraConfig.instance().set_config(config)  # interpolations read it
        self.settings = settings.read_settings(node)
        self.space = space.read_space(self.settings.params, config.hydra.overrides.task, context.config_loader)
        with read_write(config.hydra):
            config.hydra.sweep.dir = config.hydra.sweep.dir  # replaces the interpolation by its present value
        self.config = config
        self.directory = Path(config.hydra.sweep.dir)
        self.composer = Composer(context.config_loader, config)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=config
        )

    def run(self) -> None:
        """Runs the jobs that must still run, and shows the results of all.

        Raises:
            UserError: the sweep has a mistake, found before any job runs.
            JobFailed: some jobs failed; raised after all have run.
        """
        if self.settings.search != "grid" and not self.space.dimensions:
            raise UserError(
                f"{self.settings.search} search has no keys to vary: give keys with values, such as "
                "'optimizer.lr=tag(log,interval(1e-4,1e-2))', or hydra.sweeper.params in a sweep's file"
            )
        combinations = self.space.grid() if self.settings.search == "grid" else [self.space.first()]
        jobs = [self.space.overrides(values) for values in combinations]
        configs = [self.composer.config_of(self.space.fixed, overrides) for overrides in jobs]
        self.metric, self.mode = metric.followed(self.settings, configs)
        with directory.held(self.directory):
            directory.begin(self.directory, self._facts())
            named = [(identity(config, self.space.keys()), words) for config, words in zip(configs, jobs, strict=True)]
            self._run_all(self._plan(named, configs[0]["name"]))

    def _facts(self) -> dict[str, Any]:
        """The settings that must not change when a search continues."""
        base = what_is_run(self.composer.config_of(self.space.fixed), ())
        chosen = {key: value for key, value in asdict(self.settings).items() if key in OF_STUDY}
        return {**chosen, "metric": self.metric, "mode": self.mode, "params": self.space.texts(), "config": base}

    def _plan(self, named: Sequence[tuple[str, list[str]]], name: str) -> Plan:
        self.register = Register(self.directory, name)
        if self.settings.search == "grid":
            return Grid(named, self.register)
        from genmodels.sweeps.study import Study

        how = {key: getattr(self.settings, key) for key in ("search", "seed", "n_jobs")}
        study = Study(self.space, mode=self.mode, **how)
        return Search(study, self.space, self.composer, self.register, self.settings.n_trials)

    def _run_all(self, plan: Plan) -> None:
        said = SweepOutput(self.directory, self.metric, self.mode, directory.command(sys.argv[1:], str(self.directory)))
        said.begins(list(self.register.jobs.values()), plan.total)
        done = sum(not is_due(job) for job in self.register.jobs.values())
        statuses: dict[int, int] = {}
        try:
            for batch in plan.batches(self._at_once()):
                said.launches(batch, done, plan.total)
                statuses |= self._launch(batch)
                done += len(batch)
                for job in batch:
                    plan.tell(job)
                said.ended(batch)
        except (KeyboardInterrupt, SystemExit):
            said.interrupted()
            raise
        said.table()
        if statuses:
            raise JobFailed(statuses[min(statuses)], str(self.directory))

    def _at_once(self) -> int | None:
        """The number of jobs that the launcher gets at a time; None: all."""
        if self.config.hydra.runtime.choices["hydra/launcher"] == ONE_BY_ONE:
            return 1
        return self.settings.n_jobs if self.settings.search == "tpe" else None

    def _launch(self, batch: Sequence[Job]) -> dict[int, int]:
        """Runs jobs; returns the exit statuses of the failed ones, by number."""
        for job in batch:
            job.write()
        try:
            ended = self.launcher.launch([self._overrides(job) for job in batch], initial_job_idx=batch[0].number)
        except Exception as error:  # from the launcher itself, such as a job killed by the system
            print(f"genmodels: the launcher failed: {explain(error)[0]}", file=sys.stderr, flush=True)
            return {batch[0].number: FAULT}
        statuses = {job.number: _status(end) for job, end in zip(batch, ended, strict=True)}
        return {number: status for number, status in statuses.items() if status}

    def _overrides(self, job: Job) -> list[str]:
        place = {"dir": job.directory.parent, "subdir": job.directory.name}
        hydras = [f"hydra.sweep.{key}={quoted(str(value))}" for key, value in place.items()]
        if self.metric is not None:
            hydras += [f"hydra.sweeper.metric={quoted(self.metric)}", f"hydra.sweeper.mode={self.mode}"]
        return [*self.space.fixed, *job.overrides, *hydras]


def _status(end: JobReturn) -> int:
    """The exit status of a job."""
    if end.status == JobStatus.COMPLETED:
        return 0
    error = end._return_value  # the exception that `return_value` would raise
    return error.status if isinstance(error, JobFailed) else explain(error)[1]
