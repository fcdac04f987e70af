"""Where the configs lie, and running a Hydra app on them."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels.cli.places import CONFIGS
from genmodels.errors import UserError


def label_classes(conditional: Any, classes: int | None) -> int | None:
    """`classes` where a model is conditional on labels, else None; UserError where the data have no labels."""
    if conditional and classes is None:
        raise UserError("model.conditional=true needs labels, and the data have none (data.classes is null)")
    return classes if conditional else None


def sweep_name() -> str | None:
    """Name of the sweep's directory within a sweep (`-m`), else None."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir).name


def options(group: str) -> list[str]:
    """Names of a group's options: ours, and those of a person's own config directories once an app runs."""
    if GlobalHydra.instance().is_initialized():
        return GlobalHydra.instance().config_loader().get_group_options(group)
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def option(group: str, name: str) -> dict[str, Any]:
    """An option of a group, composed beside the config that an app runs with; keys left open stay "???"."""
    return cast(dict, OmegaConf.to_container(compose(overrides=[f"+{group}={name}"]), resolve=True))[group]


OmegaConf.register_new_resolver("options", lambda group: ", ".join(options(group)), replace=True)
OmegaConf.register_new_resolver("label_classes", label_classes, replace=True)
OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)


def compose_config(command: str, overrides: list[str]) -> DictConfig:
    """The config that a command would get with these overrides, without its `hydra` node."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(command, overrides)


def run_app(command: str, argv: list[str], task: Callable[[DictConfig], None], *, config: Path | None = None) -> int:
    """Composes `command`'s config (or the one in the file `config`) with overrides and runs `task` on it, once or
    for every job of a sweep; returns the exit status of the first job that failed, or 0."""
    from genmodels.cli.complaints import explain_composition
    from genmodels.cli.main import guarded

    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing them
    statuses: list[int] = []

    def job(cfg: DictConfig) -> None:
        sys.argv = [sys.argv[0], *invocation, *argv]  # for processes that Lightning starts by this command line
        statuses.append(guarded(lambda: task(cfg)))

    invocation = [] if Path(sys.argv[0]).suffix == ".py" else [command]
    sys.argv = [sys.argv[0], *argv]
    folder, name = (config.parent, config.stem) if config else (CONFIGS, command)
    try:
        hydra.main(version_base="1.3", config_path=str(folder.resolve()), config_name=name)(job)()
    except (HydraException, OmegaConfBaseException) as error:
        name = config.stem if config and config.parent == CONFIGS else command
        raise UserError(explain_composition(error, name, argv)) from error
    return next((status for status in statuses if status), 0)


def resolved(cfg: DictConfig) -> dict:
    """The config in plain containers, interpolations resolved; UserError names a key that was left open (???)."""
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError(f"{missing[0]} is not given; set it on the command line: {missing[0]}=...")
    return cast(dict, OmegaConf.to_container(cfg, resolve=True))
