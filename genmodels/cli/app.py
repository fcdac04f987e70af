"""Runs a command as a Hydra app: composes its config, once or for every job of a sweep, and runs a task on it."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from pkgutil import resolve_name

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from genmodels.cli.help import HELP_FLAGS, keys_to_explain, show_help
from genmodels.config.messages import explain_composition
from genmodels.config.paths import with_paths_quoted
from genmodels.config.shipped import CONFIGS
from genmodels.errors import Fault, UserError
from genmodels.failures import chain_of
from genmodels.processes.ending import ending
from genmodels.processes.rendezvous import this_process
from genmodels.processes.spawn import run_on
from genmodels.sweeps.failed import JobFailed, list_failures
from genmodels.sweeps.name import sweep_folder

OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)  # in hydra.sweep.dir

MULTIRUN = ("-m", "--multirun")
WITH_VALUE = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p", "--cfg", "-c")


def run_app(command: str, argv: list[str], *, check: str, work: str, config: Path | None = None) -> int:
    """Composes `command`'s config (or the one in `config`) and does its work, once or for every job of a sweep.

    `check` names the function of `genmodels.config.checked` that checks the composed config, `work` the function
    ("module:name") that takes the checked one; both are imported when they are called. Returns the exit status, for a
    sweep that of the first failed job.
    """
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # without messages about its font cache
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises exceptions instead of printing them
    if {*MULTIRUN} & {*argv} and this_process().world > 1:
        raise UserError("the jobs of a sweep start their own processes; start -m without torchrun or srun")
    argv = with_paths_quoted(argv)
    statuses: list[int] = []

    def job(cfg: DictConfig) -> None:
        checked = partial(resolve_name, f"genmodels.config.checked:{check}")
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            from genmodels.sweeps.begin import continued, job_of_sweep

            with job_of_sweep():
                run_on(work, checked()(continued(cfg)))
            return
        with ending() as end:
            run_on(work, checked()(cfg))
        statuses.append(end.status)
        if end.status:
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir))

    folder, name = (config.parent, config.stem) if config else (CONFIGS, command)
    task: Callable[[DictConfig], None] = job
    if (about := keys_to_explain(argv)) is not None:
        argv = [*(word for word in argv if word not in (*HELP_FLAGS, *MULTIRUN, *about)), "hydra.run.dir=."]
        task = partial(show_help, about=about, name=name if config and config.parent == CONFIGS else command)
    sys.argv = [sys.argv[0], *flags_first(argv)]
    try:
        hydra.main(version_base="1.3", config_path=str(folder.resolve()), config_name=name)(task)()
    except JobFailed as failed:
        list_failures(failed.sweep_dir)
        return failed.status
    except (HydraException, OmegaConfBaseException, ValueError, YAMLError) as error:
        if any(isinstance(cause, Fault) for cause in chain_of(error)):  # the processes do not meet: no mistake in it
            raise
        name = config.stem if config and config.parent == CONFIGS else command
        raise UserError(explain_composition(error, name, argv)) from error
    return next((status for status in statuses if status), 0)


def flags_first(argv: list[str]) -> list[str]:
    """The words with flags and their values before all others, as Hydra needs them."""
    flags, rest, words = [], [], iter(argv)
    for word in words:
        if not word.startswith("-"):
            rest.append(word)
        else:
            flags += [word, *([next(words, "")] if word in WITH_VALUE else [])]
    return [*flags, *rest]


def _remove_if_empty(run_dir: Path) -> None:
    """Removes the empty directory that Hydra made for a run that never started, and its empty parents below the working
    directory."""
    with suppress(OSError, ValueError):
        os.removedirs(run_dir.relative_to(Path.cwd()))
