"""config.yaml of a run directory: everything that it was trained with, and by which version."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genmodels.disk.atomic import write_text
from genmodels.errors import UserError
from genmodels.run.layout import CONFIG
from genmodels.run.trust import OURS, TRAINING, read_config, refused, require_trusted

WRITTEN_BY = "genmodels"  # key of a saved config: the version that wrote it
FIRST_TO_SAY = "0.1"  # the version whose configs do not say
# of every run's config
PARTS = {
    "data": dict,
    "model": dict,
    "trainer": dict,
    "seed": int,
    "name": str,
    "run_dir": str,
}


def stamped(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config that says which version wrote it, as every one that is saved does."""
    return {WRITTEN_BY: version("genmodels"), **{key: value for key, value in config.items() if key != WRITTEN_BY}}


def require_this_version(config: Mapping[str, Any], what: Path) -> None:
    """UserError where `what` was written by a version whose models this one does not build: 0.1 beside 0.2."""
    wrote, here = (_minor(str(each)) for each in (config.get(WRITTEN_BY, FIRST_TO_SAY), version("genmodels")))
    if wrote != here:
        raise UserError(
            f"{what} was written by genmodels {wrote} and this is genmodels {here}; use that version "
            f"(pip install 'genmodels=={wrote}.*'), or train the model anew"
        )


def _minor(of: str) -> str:
    return ".".join(of.split(".")[:2])


def save_config(run_dir: Path, config: Mapping[str, Any]) -> None:
    """Writes config.yaml: everything resolved, enough to run it again, and which version wrote it."""
    write_text(run_dir / CONFIG, OmegaConf.to_yaml(OmegaConf.create(stamped(config))))


def require_run(run_dir: Path) -> Path:
    """The directory, if a run lies there; UserError if not."""
    if run_dir.is_file():
        raise UserError(f"{run_dir} is a file, expected a run directory; give the one that it lies in")
    if not (run_dir / CONFIG).is_file():
        raise UserError(f"{run_dir} is no run directory: it has no config.yaml; give one that genmodels train wrote")
    return run_dir


def config_of(run_dir: Path) -> dict[str, Any]:
    """The config of a run directory. UserError where there is none, or it is not that of a run."""
    file = require_run(run_dir) / CONFIG
    config = read_config(file)
    if "exported" in config:
        raise UserError(f"{run_dir} is an export and no run; give the run that it is of")
    for part, kind in PARTS.items():
        if part not in config:
            raise refused(file, f"has no {part}")
        if not isinstance(config[part], kind):
            raise refused(file, f"has a {part} that is {config[part]!r}")
    return config


def config_to_resume(run_dir: Path, trusted: Sequence[str]) -> dict[str, Any]:
    """The config of a run directory, which may come from elsewhere: it builds nothing but what is trusted."""
    config = config_of(run_dir)
    if hydras := sorted({"hydra", "defaults"} & config.keys()):
        raise refused(run_dir / CONFIG, f"has the key {hydras[0]}, which tells Hydra what to do")
    require_this_version(config, run_dir)
    require_trusted(config, (*OURS, *TRAINING, *trusted))
    return {key: value for key, value in config.items() if key != WRITTEN_BY}
