"""A search space as the config of a W&B sweep, whose agents fetch the jobs and run them."""

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from genmodels.config.messages import explain_composition
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError
from genmodels.sweeps import metric, settings, space
from genmodels.sweeps.composing import Composer
from genmodels.sweeps.settings import SweepSettings
from genmodels.sweeps.space import Choices, Dimension, SearchSpace

METHODS = {"grid": "grid", "random": "random", "tpe": "bayes"}
DISTRIBUTIONS = {  # (logarithmic, integers) -> W&B's name
    (False, False): "uniform",
    (True, False): "log_uniform_values",
    (False, True): "int_uniform",
    (True, True): "q_log_uniform_values",  # in steps of q = 1
}
COMMAND = ["genmodels", "train"]


def sweep_of(words: Sequence[str]) -> dict[str, Any]:
    """The config of a W&B sweep for overrides of `genmodels train -m`.

    Raises:
        UserError: it cannot be composed, varies no key, or has a metric that is not evaluated.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            chosen, tried, configs = _composed(words)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain_composition(error, "train", list(words))) from error
    name, mode = metric.followed(chosen, configs)
    goal = {} if name is None else {"metric": {"name": name, "goal": f"{mode}imize"}}
    project = configs[0]["logger"].get("wandb", {}).get("project")
    return {
        **({} if project is None else {"project": project}),
        "program": COMMAND[0],
        "method": METHODS[chosen.search],
        **goal,
        **({} if chosen.n_trials is None else {"run_cap": chosen.n_trials}),
        "parameters": {dimension.key: parameter(dimension) for dimension in tried.dimensions},
        "command": [*COMMAND, *_of_train(tried), "${args_no_hyphens}"],
    }


def _composed(words: Sequence[str]) -> tuple[SweepSettings, SearchSpace, list[dict[str, Any]]]:
    """Settings, space, and the configs of all jobs of a grid, or of one job of a search."""
    loader = GlobalHydra.instance().config_loader()
    given = space.read_space({}, words, loader)
    cfg = compose("train", list(given.fixed), return_hydra_config=True)
    node = {str(key): value for key, value in cfg.hydra.sweeper.items()}
    chosen = settings.read_settings({key: value for key, value in node.items() if not key.startswith("_")})
    tried = space.read_space(chosen.params, words, loader)
    if not tried.dimensions:
        raise UserError("the sweep varies no key; give sweep=NAME, or keys with values, such as optimizer.lr=1e-3,1e-2")
    jobs = tried.grid() if chosen.search == "grid" else [tried.first()]
    composer = Composer(loader, cfg)
    return chosen, tried, [composer.config_of(_of_train(tried), tried.overrides(job)) for job in jobs]


def _of_train(tried: SearchSpace) -> list[str]:
    """The overrides that are the same in all jobs, without those of Hydra itself."""
    return [word for word in tried.fixed if not word.startswith(("hydra.", "hydra/"))]


def parameter(dimension: Dimension) -> dict[str, Any]:
    """A dimension as a W&B parameter; a value that is not a number stays a text, even null."""
    if isinstance(dimension, Choices):
        return {"values": [_number(value) for value in dimension.values]}
    return {"distribution": DISTRIBUTIONS[dimension.log, dimension.whole], "min": dimension.low, "max": dimension.high}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
