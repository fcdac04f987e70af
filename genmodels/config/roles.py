"""What each key of a training's config is: what trains, or what names a machine, a place, a watcher or a measurement.

Which keys a run may change when it goes on, which make two jobs of a sweep the same, which tell one run from another
and which decide whether a run is that of a published number: all of these ask here.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any


class Role(Enum):
    """What a key is."""

    TRAINS = auto()  # decides what is trained, from the first step to the last
    STEERS = auto()  # decides it, and may change when a run goes on
    REPEATS = auto()  # tells repetitions of the same from each other
    NAMES = auto()  # what people call the run
    COMPUTES = auto()  # in which precision and pieces it is computed: changes the last digits
    MACHINE = auto()  # which devices compute it
    PLACE = auto()  # where files lie
    WATCHES = auto()  # what is shown and kept while it trains
    MEASURES = auto()  # what is measured, and how samples are drawn
    ABOUT = auto()  # how the command was given, and what it is compared with


ROLES = {  # of a key, or of all keys below it that have none of their own
    "data": Role.TRAINS,
    "model": Role.TRAINS,
    "optimizer": Role.TRAINS,
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
    "trainer.accumulate_grad_batches": Role.TRAINS,  # a position in the data counts batches
    "trainer.gradient_clip_val": Role.STEERS,
    "trainer.gradient_clip_algorithm": Role.STEERS,
    "resume": Role.ABOUT,
    "trusted": Role.ABOUT,
    "baseline": Role.ABOUT,
    "experiment": Role.NAMES,
    "sweep": Role.ABOUT,
    "genmodels": Role.ABOUT,
}
OPTION = {"trainer": Role.MACHINE}  # of a group's option where its keys have several
OTHERS = {"trainer": Role.STEERS}  # of keys that a person adds to a group
MOVABLE = ("root", "path", "test_path", "run", "dir", "dirpath", "run_dir", "urls")  # last words of keys: PLACE


def role(key: str) -> Role:
    """The role of a dotted key; of a group, that of choosing another option."""
    first = key.partition(".")[0]
    if key.rpartition(".")[2] in MOVABLE:
        return Role.PLACE
    above = key
    while above not in ROLES and "." in above:
        above = above.rpartition(".")[0]
    if above in ROLES:
        return ROLES[above]
    return (OPTION if key == first else OTHERS).get(first, Role.ABOUT)


def without(config: Mapping[str, Any], *roles: Role, keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """The config without the keys that have these roles, but for those in `keep` and below them."""
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
