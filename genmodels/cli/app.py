"""Running a command as a Hydra app: its config composed, once or for every job of a sweep, and a task run on it."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from genmodels.cli.config.complaints import explain_composition
from genmodels.cli.config.paths import with_paths_quoted
from genmodels.cli.config.places import CONFIGS
from genmodels.cli.failures import INTERRUPTED, TERMINATED, chain_of, explain
from genmodels.cli.help import FLAGS, asked, show
from genmodels.cli.main import guarded
from genmodels.cli.many.together import together
from genmodels.cli.sweeps.folder import sweep_folder
from genmodels.errors import Fault, UserError

OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)  # in hydra.sweep.dir

MULTIRUN = ("-m", "--multirun")
WITH_VALUE = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p", "--cfg", "-c")
ERROR = "error.txt"  # in the directory of a sweep's job that failed: the sentence that says why


class JobFailed(Exception):
    """A job of a sweep failed; comes from where a launcher ran it, perhaps another machine, to where -m was given."""

    def __init__(self, status: int, sweep_dir: str):
        super().__init__(status, sweep_dir)
        self.status, self.sweep_dir = status, Path(sweep_dir)


def run_app(command: str, argv: list[str], task: Callable[[DictConfig], None], *, config: Path | None = None) -> int:
    """Composes `command`'s config (or the one in the file `config`) with overrides and runs `task` on it, once or
    for every job of a sweep; returns the exit status, in a sweep that of the first job that failed."""
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing them
    if {*MULTIRUN} & {*argv} and together().world > 1:
        raise UserError("the jobs of a sweep start their own processes; start -m without torchrun or srun")
    argv = with_paths_quoted(argv)
    statuses: list[int] = []

    def job(cfg: DictConfig) -> None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _job_of_sweep(lambda: task(_prepared(cfg)))
            return
        statuses.append(guarded(lambda: task(cfg)))
        if statuses[-1]:
            _remove_if_empty(Path(HydraConfig.get().runtime.output_dir))

    folder, name = (config.parent, config.stem) if config else (CONFIGS, command)
    if (about := asked(argv)) is not None:
        argv = [*(word for word in argv if word not in (*FLAGS, *MULTIRUN, *about)), "hydra.run.dir=."]
        task = partial(show, about=about, name=name if config and config.parent == CONFIGS else command)
    sys.argv = [sys.argv[0], *flags_first(argv)]
    try:
        hydra.main(version_base="1.3", config_path=str(folder.resolve()), config_name=name)(job)()
    except JobFailed as failed:
        _list_failures(failed.sweep_dir)
        return failed.status
    except (HydraException, OmegaConfBaseException, ValueError, YAMLError) as error:
        if any(isinstance(cause, Fault) for cause in chain_of(error)):  # no mistake in it: the processes do not meet
            raise
        name = config.stem if config and config.parent == CONFIGS else command
        raise UserError(explain_composition(error, name, argv)) from error
    return next((status for status in statuses if status), 0)


def flags_first(argv: list[str]) -> list[str]:
    """The words with the flags, and the values that follow some, before the rest, as Hydra wants them."""
    flags, rest, words = [], [], iter(argv)
    for word in words:
        if not word.startswith("-"):
            rest.append(word)
        else:
            flags += [word, *([next(words, "")] if word in WITH_VALUE else [])]
    return [*flags, *rest]


def _prepared(cfg: DictConfig) -> DictConfig:
    from genmodels.cli.sweeps.job import prepared

    return prepared(cfg)


def _job_of_sweep(work: Callable[[], None]) -> None:
    """Runs a job of a sweep, in whatever process the launcher chose; what it failed of is left in its directory."""
    file = Path(HydraConfig.get().runtime.output_dir) / ERROR
    file.unlink(missing_ok=True)

    def noted() -> None:
        try:
            work()
        except Exception as error:
            file.write_text(explain(error)[0] + "\n")
            raise

    status = guarded(noted)
    if status in (INTERRUPTED, TERMINATED):
        sys.exit(status)  # no further jobs
    if status:
        raise JobFailed(status, HydraConfig.get().sweep.dir)


def _list_failures(sweep_dir: Path) -> None:
    print(f"genmodels: these jobs of {sweep_dir} failed:", file=sys.stderr)
    for file in sorted(sweep_dir.rglob(ERROR)):
        print(f"  {file.parent.relative_to(sweep_dir)}: {file.read_text().strip()}", file=sys.stderr)


def _remove_if_empty(run_dir: Path) -> None:
    """Removes the directory that Hydra made for a run that was never begun, and those above it down from here."""
    with suppress(OSError, ValueError):
        os.removedirs(run_dir.relative_to(Path.cwd()))
