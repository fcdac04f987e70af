"""The sweeps of genmodels as a plugin of Hydra's, which takes sweepers from packages called hydra_plugins only.

Hydra imports this file at every start, so that nothing heavy stands here; `genmodels.sweeps` does the work.
"""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GenmodelsSweeper(Sweeper):
    """Hands the jobs of a sweep to whatever launcher `hydra/launcher` names."""

    def __init__(
        self,
        *,
        search: str,
        n_trials: int | None,
        metric: str | None,
        mode: str | None,
        pruner: Any,
        n_jobs: int,
        seed: int,
        params: Any,
        **unknown: Any,  # of a sweep's file; the sweep checks all of them, and refuses these
    ):
        self.settings = {"search": search, "n_trials": n_trials, "metric": metric, "mode": mode, "pruner": pruner}
        self.settings |= {"n_jobs": n_jobs, "seed": seed, "params": params, **unknown}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from genmodels.sweeps.sweep import Sweep

        self.todo = Sweep(self.settings, hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> None:
        self.todo.run()  # the arguments are in the config, too
