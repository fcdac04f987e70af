"""The published number that an experiment aims at, as the `baseline` of its config says it."""

from collections.abc import Mapping
from typing import Any

from genmodels.config.check import check
from genmodels.config.schema import Baseline
from genmodels.errors import UserError


def aim_in(config: Mapping[str, Any]) -> Baseline:
    """What the config aims at.

    Raises:
        UserError: it says nothing, or what cannot be meant.
    """
    node = config.get("baseline")
    if not isinstance(node, Mapping) or any(isinstance(value, Mapping) for value in node.values()):
        raise UserError(f"baseline is {node!r}, expected the keys of a published number")
    check(node, Baseline)
    aim = Baseline(**{**node, "tolerance": tuple(node["tolerance"])})
    low, high = aim.tolerance
    if not low <= 0 <= high:
        raise UserError(
            f"tolerance is [{low:g}, {high:g}], expected what ours may be below and above the figure, such as "
            "[-0.5, 0.3]"
        )
    if not aim.minutes > 0:
        raise UserError(f"minutes is {aim.minutes:g}, expected minutes above 0")
    return aim
