"""Runs that build on runs: what a config has to know of a first stage that another run trained, and its weights.

A first stage is known by the hash of its weights. Its constructor call stands in the new run's config and its weights
in the new run's checkpoints, so that once training has begun the other run is not needed any more.
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
    data: Mapping[str, Any]  # of its config
    model: nn.Module
    code: Field
    sha256: str  # of its weights


def first_stage(run: str, data: Mapping[str, Any], trusted: Sequence[str] = ()) -> FirstStage:
    """The first stage that a run trained; UserError unless it has codes of data such as these."""
    file = checkpoint_path(run)
    found = _read(file.resolve(), file.stat().st_mtime_ns, tuple(trusted))
    theirs, ours = ([config.get("shape"), config.get("levels")] for config in (found.data, data))
    if theirs != ours:
        raise UserError(
            f"{run} is of data of shape {theirs[0]} with levels={theirs[1]}, expected {ours[0]} with levels={ours[1]} "
            "as the data of this run; choose the same data, or another model.space.run"
        )
    return found


@lru_cache(maxsize=4)
def _read(file: Path, changed: int, trusted: tuple[str, ...]) -> FirstStage:
    checkpoint = read_checkpoint(file)
    model = model_of(checkpoint, trusted=trusted)
    if why := why_not(model, Compresses):
        raise UserError(
            f"model.space.run names {file}, codes of a run that has none: {why}; give a run of a model that "
            "compresses, such as model=vqvae or model=vae"
        )
    config = checkpoint["config"]
    assert isinstance(model, Compresses)
    sha256 = weights_sha256(model.state_dict())
    return FirstStage(config["model"], config.get("data", {}), model, model.code, sha256)


def load_first_stages(model: nn.Module) -> None:
    """Gives the first stages of a model that is about to be trained the weights of the runs that its config names.

    UserError where these are not there any more, or are others than when the config was composed.
    """
    for part in model.modules():
        if isinstance(part, OfRun):
            stage = read_weights(part)
            part.stage.load_state_dict(stage.state_dict())


def read_weights(part: OfRun) -> nn.Module:
    """The model of the run that a space is of, if its weights have the hash that the config says."""
    file = checkpoint_path(part.run)
    package = type(part.stage).__module__.split(".")[0]  # it was built already, as trusted
    stage = _read(file.resolve(), file.stat().st_mtime_ns, (package,))
    if stage.sha256 != part.sha256:
        raise UserError(
            f"the weights in {file} have the sha256 {stage.sha256[:12]}..., expected {part.sha256[:12]}... of "
            "model.space.sha256: the run was trained further, or replaced; start a new run with model.space.run="
            f"{quote(part.run)}"
        )
    return stage.model


def with_absolute_runs(node: Any) -> Any:
    """A part of a config in which the runs that it builds on are named in full, wherever it is read from."""
    if isinstance(node, Mapping):
        made = {key: with_absolute_runs(value) for key, value in node.items()}
        is_ours = made.get("_target_") == f"{OfRun.__module__}.{OfRun.__qualname__}"
        return made | ({"run": str(Path(made["run"]).expanduser().absolute())} if is_ours else {})
    return [with_absolute_runs(value) for value in node] if isinstance(node, list) else node
