"""Starts a job of a sweep in the process that runs it, perhaps on another machine."""

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
    """The job's config, which resumes a job begun before, with the callback that reports the sweep's metric."""
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    if not (directory / JOB).is_file():  # a command without our sweeper
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
    """Runs a job's work in the process that the launcher chose; if it fails, writes the reason into its directory.

    Raises:
        JobFailed: the job failed.
        SystemExit: a signal ended the job, and no further jobs shall run.
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
