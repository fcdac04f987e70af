"""Experiments with a published number, and which runs belong to an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genmodels.config.changes import changes
from genmodels.config.check import check
from genmodels.config.roles import Role, role, without
from genmodels.config.schema import Baseline
from genmodels.errors import UserError

OF_SPEED = (Role.MACHINE, Role.COMPUTES)
NEVER_COUNT = (*OF_SPEED, Role.REPEATS, Role.PLACE, Role.WATCHES, Role.ABOUT)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment file with a baseline."""

    name: str  # of the file; "" where there is none
    config: dict[str, Any]  # as composed now, without paths
    aim: Baseline

    @property
    def dataset(self) -> str:
        return self.config["data"]["name"]

    @property
    def number(self) -> tuple[str, str, str]:
        """Identifies the published number; variants have the same."""
        return self.dataset, self.aim.metric, self.aim.system


def aim_in(config: Mapping[str, Any]) -> Baseline:
    """The published number in a config.

    Raises:
        UserError: there is none, or it is wrong.
    """
    node = config.get("baseline")
    if not isinstance(node, Mapping) or any(isinstance(value, Mapping) for value in node.values()):
        raise UserError(f"baseline is {node!r}, expected the keys of a published number")
    check(node, Baseline)
    aim = Baseline(**{**node, "tolerance": tuple(node["tolerance"])})
    low, high = aim.tolerance
    if not low <= 0 <= high:
        expected = "the allowed differences below and above the figure, such as [-0.5, 0.3]"
        raise UserError(f"tolerance is [{low:g}, {high:g}], expected {expected}")
    if not aim.minutes > 0:
        raise UserError(f"minutes is {aim.minutes:g}, expected minutes above 0")
    return aim


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without paths of a machine: the run's directory, the location of the data, absolute paths."""
    return without(_without_paths(config), Role.PLACE)


def _without_paths(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _without_paths(child) for key, child in node.items() if not _is_path(child)}
    return [_without_paths(child) for child in node if not _is_path(child)] if isinstance(node, list) else node


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("/", "~"))


def deviations(config: Mapping[str, Any], experiment: Experiment) -> dict[str, list]:
    """The keys in which a run's config differs from the experiment: [its value, the experiment's value].

    What is trained and measured counts; seed, paths, devices, precision and observers do not.
    """
    found = changes(portable(config), experiment.config)
    return {key: values for key, values in found.items() if role(key) not in NEVER_COUNT}


def in_words(deviations: Mapping[str, list]) -> str:
    """Such as "data.batch_size was 64, not 128", for the first three keys."""
    said = [f"{key} was {old}, not {new}" for key, (old, new) in list(deviations.items())[:3]]
    more = len(deviations) - len(said)
    return "; ".join(said) + (f"; and {more} more keys" if more else "")


def command_of(config: Mapping[str, Any], experiment: Experiment) -> str:
    """The command that trains such a run on such a machine."""
    words = ["genmodels", "train", f"experiment={experiment.name}", f"seed={config['seed']}"]
    found = changes(portable(config), experiment.config)
    words += [f"{key}={old}" for key, (old, _) in found.items() if role(key) in OF_SPEED and key != "eval_batch_size"]
    return " ".join(words)
