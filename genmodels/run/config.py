"""config.yaml of a run directory: all settings of the training, and the version that wrote them."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genmodels.disk.atomic import write_text
from genmodels.errors import UserError
from genmodels.run.layout import CONFIG
from genmodels.run.trust import OWN_PACKAGES, TRAINING, read_config, refused, require_trusted

WRITTEN_BY = "genmodels"  # key of a saved config: the version that wrote it
FIRST_VERSION = "0.1"  # the version whose configs lack this key
REQUIRED_KEYS = {  # keys of every run's config, and their types
    "data": dict,
    "model": dict,
    "trainer": dict,
    "seed": int,
    "name": str,
    "run_dir": str,
}


def stamped(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the version that writes it, as every saved config has."""
    return {WRITTEN_BY: version("genmodels"), **{key: value for key, value in config.items() if key != WRITTEN_BY}}


def require_this_version(config: Mapping[str, Any], what: Path) -> None:
    """UserError where `what` was written by another minor version, whose models this version does not build."""
    wrote, here = (_minor(str(each)) for each in (config.get(WRITTEN_BY, FIRST_VERSION), version("genmodels")))
    if wrote != here:
        raise UserError(
            f"{what} was written by genmodels {wrote} and this is genmodels {here}; use that version "
            f"(pip install 'genmodels=={wrote}.*'), or train the model anew"
        )


def _minor(of: str) -> str:
    return ".".join(of.split(".")[:2])


def save_config(run_dir: Path, config: Mapping[str, Any]) -> None:
    """Writes config.yaml: all settings resolved, enough to repeat the run, and the version that writes it."""
    write_text(run_dir / CONFIG, OmegaConf.to_yaml(OmegaConf.create(stamped(config))))


def require_run(run_dir: Path) -> Path:
    """The directory itself; UserError if it is not a run directory."""
    if run_dir.is_file():
        raise UserError(f"{run_dir} is a file, expected a run directory; give the directory that contains it")
    if not (run_dir / CONFIG).is_file():
        raise UserError(f"{run_dir} is not a run directory: it has no config.yaml; give one that genmodels train wrote")
    return run_dir


def config_of(run_dir: Path) -> dict[str, Any]:
    """The config of a run directory. UserError where the directory has none, or one that is not of a run."""
    file = require_run(run_dir) / CONFIG
    config = read_config(file)
    if "exported" in config:
        raise UserError(f"{run_dir} is an export, expected a run directory; give the run that was exported")
    for part, kind in REQUIRED_KEYS.items():
        if part not in config:
            raise refused(file, f"has no {part}")
        if not isinstance(config[part], kind):
            raise refused(file, f"has {config[part]!r} as {part}")
    return config


def config_to_resume(run_dir: Path, trusted: Sequence[str]) -> dict[str, Any]:
    """The config of a run directory, perhaps from somebody else; UserError if it names classes that are not trusted."""
    config = config_of(run_dir)
    if hydras := sorted({"hydra", "defaults"} & config.keys()):
        raise refused(run_dir / CONFIG, f"has the key {hydras[0]}, which controls Hydra")
    require_this_version(config, run_dir)
    require_trusted(config, (*OWN_PACKAGES, *TRAINING, *trusted))
    return {key: value for key, value in config.items() if key != WRITTEN_BY}
