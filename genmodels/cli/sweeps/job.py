"""A job of a sweep where it runs, perhaps in another process or on another machine, right before it trains."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from genmodels.cli.sweeps.jobs import FILE


def prepared(cfg: DictConfig) -> DictConfig:
    """The job's config, going on where the job was begun before, and with the callback that reports its metric."""
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    if not (directory / FILE).is_file():  # of a command that has no sweeps of ours
        return cfg
    with open_dict(cfg):
        if (directory / "config.yaml").exists():
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
