"""First stages that another run trained: their entries in a config, and their weights.

A first stage is identified by the hash of its weights. The new run's config contains its constructor call and the new
run's checkpoints its weights, so the other run is not needed any more once training has begun.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from torch import nn

from genmodels.capabilities import Compresses, why_not
from genmodels.errors import UserError
from genmodels.evaluators.features.base import weights_sha256
from genmodels.fields import Field
from genmodels.parts.of_run import OfRun
from genmodels.run.checkpoint import checkpoint_path, model_of, read_checkpoint


class FirstStage(NamedTuple):
    """The model of a finished run, as the first stage of another."""

    node: Mapping[str, Any]  # its constructor call
    data: Mapping[str, Any]  # `data` of its config
    model: nn.Module
    code: Field
    sha256: str  # of its weights


def first_stage(run: str, data: Mapping[str, Any], trusted: Sequence[str] = ()) -> FirstStage:
    """The model of a run as a first stage; UserError unless it encodes data of the same shape and levels as `data`."""
    file = checkpoint_path(run)
    found = _read(file.resolve(), file.stat().st_mtime_ns, tuple(trusted))
    theirs, ours = ([config.get("shape"), config.get("levels")] for config in (found.data, data))
    if theirs != ours:
        raise UserError(
            f"{run} was trained on data of shape {theirs[0]} with levels={theirs[1]}, expected shape {ours[0]} with "
            f"levels={ours[1]} as in this run; choose the same data, or another model.space.run"
        )
    return found


@lru_cache(maxsize=4)
def _read(file: Path, changed: int, trusted: tuple[str, ...]) -> FirstStage:
    checkpoint = read_checkpoint(file)
    model = model_of(checkpoint, trusted=trusted)
    if why := why_not(model, Compresses):
        raise UserError(
            f"model.space.run names {file}, whose model has no codes: {why}; give a run of a model that "
            "compresses, such as model=vqvae or model=vae"
        )
    config = checkpoint["config"]
    assert isinstance(model, Compresses)
    sha256 = weights_sha256(model.state_dict())
    return FirstStage(config["model"], config.get("data", {}), model, model.code, sha256)


def load_first_stages(model: nn.Module) -> None:
    """Loads the weights of the runs that the config names into the first stages of a new model.

    UserError where the weights are missing, or differ from those when the config was composed.
    """
    for part in model.modules():
        if isinstance(part, OfRun):
            stage = read_weights(part)
            part.stage.load_state_dict(stage.state_dict())


def read_weights(part: OfRun) -> nn.Module:
    """The model of the run that a space names; UserError unless its weights have the hash in the config."""
    file = checkpoint_path(part.run)
    package = type(part.stage).__module__.split(".")[0]  # trusted, since it was built already
    stage = _read(file.resolve(), file.stat().st_mtime_ns, (package,))
    if stage.sha256 != part.sha256:
        raise UserError(
            f"the weights in {file} have the sha256 {stage.sha256[:12]}..., expected {part.sha256[:12]}... of "
            "model.space.sha256: the run was trained further, or replaced; start a new run with model.space.run="
            f"{quote(part.run)}"
        )
    return stage.model


def with_absolute_runs(node: Any) -> Any:
    """A part of a config with absolute paths for the runs that it builds on."""
    if isinstance(node, Mapping):
        made = {key: with_absolute_runs(value) for key, value in node.items()}
        is_ours = made.get("_target_") == f"{OfRun.__module__}.{OfRun.__qualname__}"
        return made | ({"run": str(Path(made["run"]).expanduser().absolute())} if is_ours else {})
    return [with_absolute_runs(value) for value in node] if isinstance(node, list) else node
