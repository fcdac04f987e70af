"""A job of a sweep where it runs, perhaps in another process or on another machine, right before it trains."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from genmodels.failures import INTERRUPTED, TERMINATED, explain
from genmodels.processes.ending import ending
from genmodels.run.layout import CONFIG, FAILED, JOB
from genmodels.sweeps.failed import JobFailed


def continued(cfg: DictConfig) -> DictConfig:
    """The job's config, going on where the job was begun before, and with the callback that reports its metric."""
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    if not (directory / JOB).is_file():  # of a command that has no sweeps of ours
        return cfg
    with open_dict(cfg):
        if (directory / CONFIG).exists():
            cfg.resume = str(directory)
        if hydra.sweeper.metric is not None:
            cfg.callbacks.pruning = {
                "_target_": "genmodels.training.callbacks.pruning.Pruning",
                "dirpath": "${run_dir}",
                "metric": hydra.sweeper.metric,
                "mode": hydra.sweeper.mode,
                "pruner": OmegaConf.to_container(hydra.sweeper.pruner) if hydra.sweeper.pruner else None,
            }
    return cfg


@contextmanager
def job_of_sweep() -> Iterator[None]:
    """A job's work, in whatever process the launcher chose; the sentence it failed with is left in its directory.

    Raises:
        JobFailed: it failed.
        SystemExit: a signal ended it, and no further jobs are to run.
    """
    hydra = HydraConfig.get()
    file = Path(hydra.runtime.output_dir) / FAILED
    file.unlink(missing_ok=True)
    with ending() as end:
        try:
            yield
        except Exception as error:
            file.write_text(explain(error)[0] + "\n")
            raise
    if end.status in (INTERRUPTED, TERMINATED):
        sys.exit(end.status)
    if end.status:
        raise JobFailed(end.status, hydra.sweep.dir)
