"""The role of each key of a training's config: it trains, or names a machine, a path, an observer or a measurement.

The roles decide which keys may change on resume, which make two jobs of a sweep the same, which distinguish one run
from another, and which decide whether a run reproduces a published number.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any


class Role(Enum):
    """The role of a key."""

    TRAINS = auto()  # decides what is trained, fixed from the first step to the last
    STEERS = auto()  # changes training, and may change on resume
    REPEATS = auto()  # distinguishes repetitions of the same training
    NAMES = auto()  # the name of the run
    COMPUTES = auto()  # precision and batching of computations: changes the last digits
    MACHINE = auto()  # the devices that compute
    PLACE = auto()  # where files are
    WATCHES = auto()  # what is shown and saved during training
    MEASURES = auto()  # what is measured, and how samples are drawn
    ABOUT = auto()  # how the command was given, and what the run is compared with


ROLES = {  # role of a key, and of all keys below it that have none of their own
    "data": Role.TRAINS,
    "model": Role.TRAINS,
    "optimizer": Role.TRAINS,
    "optimizer.fused": Role.COMPUTES,
    "scheduler": Role.TRAINS,
    "ema": Role.TRAINS,
    "players": Role.TRAINS,
    "parameter_groups": Role.TRAINS,
    "sampler": Role.MEASURES,
    "evaluator": Role.MEASURES,
    "features": Role.MEASURES,
    "callbacks": Role.WATCHES,
    "logger": Role.WATCHES,
    "seed": Role.REPEATS,
    "name": Role.NAMES,
    "run_dir": Role.PLACE,
    "nan_policy": Role.STEERS,
    "compile": Role.COMPUTES,
    "channels_last": Role.COMPUTES,
    "eval_batch_size": Role.COMPUTES,
    "trainer._target_": Role.MACHINE,
    "trainer.accelerator": Role.MACHINE,
    "trainer.devices": Role.MACHINE,
    "trainer.num_nodes": Role.MACHINE,
    "trainer.strategy": Role.MACHINE,
    "trainer.precision": Role.COMPUTES,
    "trainer.max_steps": Role.STEERS,
    "trainer.log_every_n_steps": Role.WATCHES,
    "trainer.accumulate_grad_batches": Role.TRAINS,  # the noise of a step depends on it
    "trainer.gradient_clip_val": Role.STEERS,
    "trainer.gradient_clip_algorithm": Role.STEERS,
    "resume": Role.ABOUT,
    "trusted": Role.ABOUT,
    "baseline": Role.ABOUT,
    "experiment": Role.NAMES,
    "sweep": Role.ABOUT,
    "genmodels": Role.ABOUT,
}
GROUP_ROLES = {"trainer": Role.MACHINE}  # role of choosing a group's option, where its keys have different roles
ADDED_KEY_ROLES = {"trainer": Role.STEERS}  # role of keys that a user adds to a group
PATHS = ("root", "path", "test_path", "run", "dir", "dirpath")  # last words of keys that name a path, wherever they are
MOVABLE = (*PATHS, "run_dir", "urls")  # last words of PLACE keys


def role(key: str) -> Role:
    """The role of a dotted key; for a group, the role of choosing another option."""
    first = key.partition(".")[0]
    if key.rpartition(".")[2] in MOVABLE:
        return Role.PLACE
    above = key
    while above not in ROLES and "." in above:
        above = above.rpartition(".")[0]
    if above in ROLES:
        return ROLES[above]
    return (GROUP_ROLES if key == first else ADDED_KEY_ROLES).get(first, Role.ABOUT)


def without(config: Mapping[str, Any], *roles: Role, keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """The config without the keys that have these roles, except those in `keep` and below them."""
    return _without(config, "", roles, keep)


def _without(node: Mapping[str, Any], at: str, roles: tuple[Role, ...], keep: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for name, value in node.items():
        key = f"{at}{name}"
        if isinstance(value, Mapping):
            inner = _without(value, f"{key}.", roles, keep)
            if inner or role(key) not in roles:
                found[str(name)] = inner
        elif role(key) not in roles or any(key == one or key.startswith(f"{one}.") for one in keep):
            found[str(name)] = value
    return found
