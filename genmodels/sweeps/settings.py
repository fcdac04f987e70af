"""The settings of a sweep, as configs/hydra/sweeper/genmodels.yaml and the command line give them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from omegaconf import OmegaConf

from genmodels.config.check import check
from genmodels.errors import UserError
from genmodels.ranges import NonNegativeInt, PositiveInt


@dataclass(kw_only=True)
class SweepSettings:
    """The node hydra.sweeper."""

    search: Literal["grid", "random", "tpe"]
    n_trials: PositiveInt | None
    metric: str | None
    mode: Literal["min", "max"] | None
    pruner: Mapping[str, Any] | None
    n_jobs: PositiveInt
    seed: NonNegativeInt
    params: Mapping[str, Any]


def read_settings(node: Mapping[str, Any]) -> SweepSettings:
    """Checks the settings in a mapping.

    Raises:
        UserError: an unknown key, a value of a wrong type, or a setting that does not fit the search.
    """
    plain = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(dict(node)), resolve=True))
    check(plain, SweepSettings, lambda path: f" (hydra.sweeper.{path})")
    settings = SweepSettings(**plain)
    if settings.search == "grid" and settings.n_trials is not None:
        raise UserError("a grid tries everything and takes no n_trials; set hydra.sweeper.search=random or tpe")
    if settings.search != "grid" and settings.n_trials is None:
        raise UserError(f"{settings.search} search needs a number of jobs; set hydra.sweeper.n_trials=N")
    if settings.mode is not None and settings.metric is None:
        raise UserError("hydra.sweeper.mode needs hydra.sweeper.metric, which is null; set the metric, too")
    return settings
