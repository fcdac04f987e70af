"""Makes the checked config of each command, in plain containers, from the composed one."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from genmodels.config.check import check, chosen
from genmodels.config.compose import resolved
from genmodels.config.foreign import GROUPS, require_given
from genmodels.config.origin import on_command_line, origin
from genmodels.config.roles import MOVABLE
from genmodels.config.schema import Evaluate, EvaluateImages, Export, Sample, Train
from genmodels.errors import UserError

TASKS = {  # that a key is for, where it is not for all
    **dict.fromkeys(("label", "condition"), ("sample", "complete")),
    **dict.fromkeys(("source", "target"), ("translate",)),
    "given": ("complete",),
    "images": ("complete", "translate"),
}
SMALL = {1: [[4], [2]], 3: [[1, 2, 2], [1, 1, 2], [3, 1, 2]]}  # shapes with few samples, by how many sides there are
LEVELS = 3  # of such samples
SUBSETS = "evaluator.kid.subset_size"


def checked_config(cfg: DictConfig, schema: type) -> dict[str, Any]:
    """Resolves a composed config. UserError names what its schema, or a class that it calls, does not accept."""
    config = resolved(cfg)
    check(config, schema, origin)
    return config


def training_config(cfg: DictConfig) -> dict[str, Any]:
    """The config of `train`, with absolute paths, so that the run can be resumed from any directory."""
    config = checked_config(cfg, Train)
    for group in GROUPS:
        require_given(config[group], group)
    from genmodels.run.first_stages import with_absolute_runs  # imports torch, so only after the checks

    absolute = {"data": _absolute(config["data"]), "model": with_absolute_runs(config["model"])}
    return {**config, **absolute, **{group: chosen(config[group]) for group in ("evaluator", "callbacks", "logger")}}


def _absolute(data: Mapping[str, Any]) -> dict[str, Any]:
    def full(key: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return _absolute(value)
        return str(Path(value).expanduser().absolute()) if key in MOVABLE and isinstance(value, str) else value

    return {key: full(key, value) for key, value in data.items()}


def contract_config(cfg: DictConfig) -> dict[str, Any]:
    """The config of `check`: that of a training, with the model's calls on data of few sites and levels in `small`."""
    config = training_config(cfg)
    if config["resume"] is not None:
        raise UserError("resume= is a run to continue, and check tests a model before it is trained; leave resume= out")
    return {**config, "small": list(_in_small(cfg))}


def _in_small(cfg: DictConfig) -> Iterator[dict[str, Any]]:
    """The model's call for each small space for which it can be composed."""
    for shape in SMALL.get(len(cfg.data.shape), []) if cfg.data.levels else []:
        small = deepcopy(cfg)
        small.data.update({"shape": shape, "levels": LEVELS})
        with suppress(OmegaConfBaseException, UserError):
            yield {"shape": shape, "levels": LEVELS, "model": resolved(small)["model"]}


def evaluation_config(cfg: DictConfig) -> dict[str, Any]:
    """The config of `evaluate` for a run."""
    config = checked_config(cfg, Evaluate)
    require_one_model(config, "; or images: samples=... and reference=...")
    return config


def image_evaluation_config(cfg: DictConfig) -> dict[str, Any]:
    """The config of `evaluate` for images; its `by_hand` lists the keys set by the user that otherwise depend on the
    images."""
    config = checked_config(cfg, EvaluateImages)
    evaluators = chosen(config["evaluator"])
    for name in evaluators:
        if on_command_line(f"evaluator.{name}.n"):
            raise UserError(f"evaluator.{name}.n is for samples that a model draws; for existing images, set n=")
    return {**config, "evaluator": evaluators, "by_hand": [SUBSETS] if on_command_line(SUBSETS) else []}


def sampling_config(cfg: DictConfig) -> dict[str, Any]:
    """The config of `sample`."""
    config = checked_config(cfg, Sample)
    for key, tasks in TASKS.items():
        if config[key] is not None and config["task"] not in tasks:
            for_ = " and ".join(f"task={task}" for task in tasks)
            raise UserError(f"{key}= is for {for_}, and task is {config['task']}; leave one of the two out")
    require_one_model(config)
    return config


def export_config(cfg: DictConfig) -> dict[str, Any]:
    """The config of `export`."""
    config = checked_config(cfg, Export)
    require_one_model(config)
    if config["relative_std"] is not None and (config["weights"] is not None or config["run"] is None):
        raise UserError(
            "relative_std= combines weights from a run's snapshots; give run=RUN_DIR, and leave out weights= and "
            "checkpoint="
        )
    return config


def require_one_model(config: Mapping[str, Any], otherwise: str = "") -> None:
    """UserError unless exactly one of `run` (a directory) and `checkpoint` (a file) names a model."""
    run, checkpoint = config["run"], config["checkpoint"]
    if (run is None) == (checkpoint is None):
        raise UserError(f"give the model: run=RUN_DIR, or checkpoint=FILE, and not both{otherwise}")
    if run and Path(run).expanduser().is_file():
        raise UserError(f"run={run} is a file, expected a run directory; name the file with checkpoint=")
    if checkpoint and Path(checkpoint).expanduser().is_dir():
        raise UserError(f"checkpoint={checkpoint} is a folder, expected a file; name a run directory with run=")
