"""The settings of a sweep, as configs/hydra/sweeper/genmodels.yaml and the command line give them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from omegaconf import OmegaConf

from genmodels.cli.config.check import check
from genmodels.errors import UserError


@dataclass(kw_only=True)
class Settings:
    """The node hydra.sweeper."""

    search: Literal["grid", "random", "tpe"]
    n_trials: int | None
    metric: str | None
    mode: Literal["min", "max"] | None
    pruner: Mapping[str, Any] | None
    n_jobs: int
    seed: int
    params: Mapping[str, Any]


def read(node: Mapping[str, Any]) -> Settings:
    """The settings in a mapping.

    Raises:
        UserError: a key that there is not, a value of another kind, or one that says nothing in this search.
    """
    plain = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(dict(node)), resolve=True))
    check(plain, Settings, lambda path: f" (hydra.sweeper.{path})")
    settings = Settings(**plain)
    if settings.search == "grid" and settings.n_trials is not None:
        raise UserError("a grid tries everything and takes no n_trials; set hydra.sweeper.search=random or tpe")
    if settings.search != "grid" and (settings.n_trials is None or settings.n_trials < 1):
        got = "none" if settings.n_trials is None else f"n_trials={settings.n_trials}"
        raise UserError(f"{settings.search} search needs a number of jobs and got {got}; set hydra.sweeper.n_trials=N")
    if settings.n_jobs < 1 or settings.seed < 0:
        raise UserError(
            f"hydra.sweeper got n_jobs={settings.n_jobs} and seed={settings.seed}, expected at least 1 and at least 0"
        )
    if settings.mode is not None and settings.metric is None:
        raise UserError("hydra.sweeper.mode says which way a metric is better, and there is none; set metric, too")
    return settings
