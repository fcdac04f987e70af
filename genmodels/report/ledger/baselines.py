"""The experiments with a published number, composed from their present files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from genmodels.config.compose import compose_config, resolved
from genmodels.config.messages import explain_composition
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError
from genmodels.report.ledger.experiments import Experiment, aim_in, deviations, portable

SET_BY_REPRODUCE = ("experiment", "seed", "resume", "run_dir", "baseline", "name", "hydra")  # keys


def names(config_dir: Path | None) -> list[str]:
    """All experiments: ours, and those in the user's config directory."""
    folders = [CONFIGS, *([config_dir] if config_dir else [])]
    return sorted({file.stem for folder in folders for file in (folder / "experiment").glob("*.yaml")})


def baselines(config_dir: Path | None) -> list[Experiment]:
    """The experiments with a baseline.

    Raises:
        UserError: one cannot be composed, or its baseline is wrong.
    """
    configs = ((name, _compose(name, (), config_dir)) for name in names(config_dir))
    return [experiment(name, config) for name, config in configs if config.get("baseline") is not None]


def experiment(name: str, config: dict[str, Any]) -> Experiment:
    """The experiment of that name, from its composed config. UserError where its baseline is wrong."""
    try:
        return Experiment(name=name, config=portable(config), aim=aim_in(config))
    except UserError as error:
        raise UserError(f"experiment {name}, baseline: {error}; correct its file") from error


def _compose(name: str, overrides: Sequence[str], config_dir: Path | None) -> dict[str, Any]:
    """The config of an experiment; {} where it has no baseline."""
    words = [f"experiment={name}", "run_dir=unknown", *overrides]
    search = [f"hydra.searchpath=[file://{config_dir.resolve()}]"] if config_dir else []
    try:
        config = compose_config("train", [*words, *search])
        return resolved(config) if config.baseline is not None else {}
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(f"experiment {name}: {explain_composition(error, 'train', words)}") from error
    except UserError as error:
        raise UserError(f"experiment {name}: {error}") from error


def require_same(experiments: Sequence[Experiment], overrides: Sequence[str], config_dir: Path | None) -> None:
    """UserError where overrides would change what an experiment trains."""
    for word in overrides:
        if _key(word).split(".")[0] in SET_BY_REPRODUCE:
            raise _refused(word, "reproduce sets it itself")
    for one in experiments if overrides else ():
        if other := deviations(_compose(one.name, overrides, config_dir), one):
            key, (now, due) = next(iter(other.items()))
            given = next((word for word in overrides if _key(word) == key), " ".join(overrides))
            raise _refused(given, f"{key} would be {now}, and it is {due} in {one.name}")


def _key(word: str) -> str:
    return word.lstrip("+~").split("=")[0]


def _refused(word: str, why: str) -> UserError:
    return UserError(
        f"{word} is refused: {why}; reproduce accepts keys for machine and paths (trainer=cpu, trainer.devices, "
        "trainer.precision, data.root, logger, callbacks), for anything else use genmodels train"
    )
