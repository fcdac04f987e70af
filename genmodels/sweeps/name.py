"""The name of a sweep's folder, for `hydra.sweep.dir` in configs/train.yaml."""

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from genmodels.processes.rendezvous import started
from genmodels.sweeps import space


def sweep_folder() -> str:
    """The folder of a named sweep, always the same, such as "seeds_digits_vae"; of another sweep its start time."""
    hydra = HydraConfig.get()
    choices = hydra.runtime.choices
    if choices.get("sweep") is None:
        return started("%Y-%m-%d_%H-%M-%S-%f")
    loader = GlobalHydra.instance().config_loader()
    swept = space.read_space(hydra.sweeper.params, hydra.overrides.task, loader).keys()
    groups = ("data", "model") if choices.get("experiment") is None else ("experiment",)
    return "_".join([choices["sweep"], *(choices[group] for group in groups if group not in swept)])
