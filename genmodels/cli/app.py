"""Running a command as a Hydra app: its config composed, once or for every job of a sweep, and a task run on it."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from genmodels.cli.complaints import explain_composition
from genmodels.cli.main import guarded
from genmodels.cli.places import CONFIGS
from genmodels.errors import UserError


def run_app(command: str, argv: list[str], task: Callable[[DictConfig], None], *, config: Path | None = None) -> int:
    """Composes `command`'s config (or the one in the file `config`) with overrides and runs `task` on it, once or
    for every job of a sweep; returns the exit status of the first job that failed, or 0."""
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
