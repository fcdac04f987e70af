"""How a run is named where people search among many: its name and notes, its group and tags."""

import json
import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from genmodels.config.roles import Role, role
from genmodels.config.shipped import description
from genmodels.families import family_of
from genmodels.run.layout import JOB

UNTELLING = (Role.MACHINE, Role.WATCHES, Role.MEASURES, Role.PLACE, Role.NAMES, Role.ABOUT)
MAX_NAME_CHARACTERS = 128  # characters of a name; W&B's limit


def sweep_name() -> str | None:
    """Name of the sweep's directory in a sweep (`-m`), else None."""
    return Path(HydraConfig.get().sweep.dir).name if _in_sweep() else None


def run_name(name: str, seed: int) -> str:
    """Such as "digits_vae seed=0"; a sweep's job lists its overrides: "digits_vae seed=1 optimizer.lr=0.003"."""
    differs = _overrides() if _in_sweep() or "WANDB_SWEEP_ID" in os.environ else []
    return " ".join([name, *(differs or [f"seed={seed}"])])[:MAX_NAME_CHARACTERS]


def _overrides() -> list[str]:
    """The overrides that distinguish this job from others: from its job.json, else from the command line, without those
    that only say where and how it runs."""
    file = Path(HydraConfig.get().runtime.output_dir) / JOB
    if file.exists():
        return json.loads(file.read_text())["overrides"]
    given = [word.lstrip("+") for word in HydraConfig.get().overrides.task]
    return [word for word in given if role(word.partition("=")[0]) not in UNTELLING]


def _in_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def notes() -> str | None:
    """The description of the experiment, from the first comment of its file; None without an experiment."""
    runtime = HydraConfig.get().runtime if HydraConfig.initialized() else None
    name = runtime.choices.get("experiment") if runtime else None
    folders = [source.path for source in runtime.config_sources if source.schema == "file"] if runtime else []
    files = (Path(folder, "experiment", f"{name}.yaml") for folder in folders)
    return next((description(file) for file in files if file.is_file()), None)


OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("notes", notes, replace=True)
OmegaConf.register_new_resolver("family_of", family_of, replace=True)
