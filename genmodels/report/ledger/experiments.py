"""What is to be reproduced: an experiment that aims at a published number, and which runs are that experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from genmodels.config.changes import changes
from genmodels.config.roles import Role, role, without
from genmodels.errors import UserError

SPEED = (Role.MACHINE, Role.COMPUTES)
NEVER_COUNT = (*SPEED, Role.REPEATS, Role.PLACE, Role.WATCHES, Role.ABOUT)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment file with a baseline; what the fields of the baseline mean says `Baseline` in cli/config/schema."""

    name: str  # of the file
    config: dict[str, Any]  # as it is composed today, without places
    system: str
    paper: str
    link: str
    metric: str
    figure: float
    source: str
    protocol: str
    tolerance: tuple[float, float]
    variant: str | None
    minutes: float

    @property
    def dataset(self) -> str:
        return self.config["data"]["name"]

    @property
    def aim(self) -> tuple[str, str, str]:
        """The number that it is after: its variants have the same."""
        return self.dataset, self.metric, self.system


def experiment(name: str, config: Mapping[str, Any]) -> Experiment:
    """The experiment of that name, from its composed config, whose baseline has all keys.

    Raises:
        UserError: a number of the baseline is none that can be meant.
    """
    baseline = config["baseline"]
    low_high = baseline["tolerance"]
    if len(low_high) != 2 or not all(map(isfinite, low_high)) or not low_high[0] <= 0 <= low_high[1]:
        raise _refused(name, "tolerance", low_high, "what ours may be below and above the figure, such as [-0.5, 0.3]")
    if not isfinite(baseline["figure"]):
        raise _refused(name, "figure", baseline["figure"], "the paper's number")
    if not (isfinite(baseline["minutes"]) and baseline["minutes"] > 0):
        raise _refused(name, "minutes", baseline["minutes"], "minutes above 0")
    return Experiment(name=name, config=portable(config), **{**baseline, "tolerance": tuple(low_high)})


def _refused(name: str, key: str, value: object, expected: str) -> UserError:
    return UserError(f"experiment {name}: baseline.{key} is {value}, expected {expected}; correct its file")


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what names a place of a machine: the run's directory, where the data lie, full paths."""
    return without(_without_paths(config), Role.PLACE)


def _without_paths(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _without_paths(child) for key, child in node.items() if not _is_path(child)}
    return [_without_paths(child) for child in node if not _is_path(child)] if isinstance(node, list) else node


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("/", "~"))


def differences(config: Mapping[str, Any], experiment: Experiment) -> dict[str, list]:
    """The keys that make a run, by its config, another one than the experiment: [its value, the experiment's].

    What is trained and measured counts, and neither the seed, nor places, devices and precision, nor what is watched.
    """
    found = changes(portable(config), experiment.config)
    return {key: values for key, values in found.items() if role(key) not in NEVER_COUNT}


def as_text(differences: Mapping[str, list]) -> str:
    """In words: "data.batch_size was 64, not 128", the first three keys."""
    said = [f"{key} was {old}, not {new}" for key, (old, new) in list(differences.items())[:3]]
    more = len(differences) - len(said)
    return "; ".join(said) + (f"; and {more} more keys" if more else "")


def machine_words(config: Mapping[str, Any], experiment: Experiment) -> list[str]:
    """What a command line adds to the experiment so that a run like this one comes out on such a machine."""
    found = changes(portable(config), experiment.config)
    return [f"{key}={old}" for key, (old, _) in found.items() if role(key) in SPEED and key != "eval_batch_size"]
