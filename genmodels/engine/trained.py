"""The trained model of a command: its checkpoint file, and its sampler."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genmodels.capabilities import Samples
from genmodels.engine import build
from genmodels.errors import UserError
from genmodels.run.checkpoint import checkpoint_path


def named_checkpoint(config: Mapping[str, Any]) -> Path:
    """The checkpoint file that `run` (with `which`) or `checkpoint` names."""
    return checkpoint_path(config["checkpoint"] or config["run"], config["which"])


def with_sampler(model: Any, node: dict[str, Any] | None) -> Any:
    """The model, with another sampler if one is given; UserError where the model cannot use it."""
    if node is None:
        return model
    if not isinstance(model, Samples):
        raise UserError(
            f"sampler= is for a model that draws samples, and {type(model).__name__} draws none; leave it out"
        )
    model.use(build.instance(node))
    return model
