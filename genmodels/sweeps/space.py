"""The search space of a sweep: the swept and the fixed overrides of the command line and of a sweep's file.

The grammar is Hydra's: `a=1,2`, `choice(...)`, `range(...)`, `glob(*)`, `interval(...)`, `tag(log, interval(...))`,
`int(interval(...))`. Values stay texts, as in an override.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException

from genmodels.errors import UserError
from genmodels.failures import one_line

Assignment = dict[str, str]  # of one job: a value, as text, for each key that is swept


@dataclass(frozen=True)
class Choices:
    """A key that takes one of several values."""

    key: str  # as in an override, such as "optimizer.lr" or "+model.width"
    text: str  # as the user wrote it
    values: tuple[str, ...]

    @property
    def first(self) -> str:
        return self.values[0]


@dataclass(frozen=True)
class Interval:
    """A key that takes any number in a closed interval."""

    key: str
    text: str
    low: float
    high: float
    log: bool  # drawn on a logarithmic scale
    whole: bool  # integers only

    @property
    def first(self) -> str:
        return repr(self.low)


Dimension = Choices | Interval


@dataclass(frozen=True)
class SearchSpace:
    """The swept keys, and the overrides that are the same in every job."""

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]  # overrides

    def keys(self) -> list[str]:
        """The swept keys, without the + of keys that the config does not have."""
        return [dimension.key.lstrip("+") for dimension in self.dimensions]

    def texts(self) -> dict[str, str]:
        """The swept values by key, as the user wrote them."""
        return {dimension.key: dimension.text for dimension in self.dimensions}

    def overrides(self, values: Assignment) -> list[str]:
        """The overrides that give a job its values."""
        return [f"{key}={value}" for key, value in values.items()]

    def grid(self) -> list[Assignment]:
        """All combinations, the last key changing fastest; one empty combination where nothing is swept."""
        values = []
        for dimension in self.dimensions:
            if isinstance(dimension, Interval):
                raise UserError(
                    f"{dimension.key}={dimension.text} has infinitely many values for a grid; list some "
                    f"({dimension.key}=choice(...) or range(...)), or set hydra.sweeper.search=random or tpe"
                )
            values.append(dimension.values)
        keys = [dimension.key for dimension in self.dimensions]
        return [dict(zip(keys, combination, strict=True)) for combination in product(*values)]

    def first(self) -> Assignment:
        """One combination, to test whether it can be composed."""
        return {dimension.key: dimension.first for dimension in self.dimensions}


def read_space(params: Mapping[str, Any], arguments: Iterable[str], loader: ConfigLoader | None) -> SearchSpace:
    """Reads the space of a sweep; the command line overrides the file.

    Raises:
        UserError: a value cannot be parsed, or a choice is empty.
    """
    lines = [*(f"{key}={_text(key, value)}" for key, value in params.items()), *arguments]
    overrides = {override.get_key_element().lstrip("+"): override for override in _parsed(lines, loader)}
    swept = [override for override in overrides.values() if override.is_sweep_override()]
    fixed = [override for override in overrides.values() if not override.is_sweep_override()]
    return SearchSpace(tuple(map(_dimension, swept)), tuple(str(override.input_line) for override in fixed))


def _text(key: str, value: Any) -> str:
    """A value from a YAML as the text of an override."""
    if isinstance(value, Mapping):
        raise UserError(
            f"hydra.sweeper.params.{key} is a mapping; write the key in full, {key}.{next(iter(value), '')}"
        )
    plain = {None: "null", True: "true", False: "false"}
    return plain[value] if value is None or isinstance(value, bool) else str(value)


def _parsed(lines: list[str], loader: ConfigLoader | None) -> list[Override]:
    parser = OverridesParser.create(config_loader=loader)
    found = []
    for line in lines:
        try:
            found.append(parser.parse_override(line))
        except HydraException as error:
            raise UserError(f"cannot read {line!r}: {one_line(str(error.__cause__ or error))}") from error
    return found


def _dimension(override: Override) -> Dimension:
    key, text = override.get_key_element(), override.get_value_string()
    value = override.value()
    if isinstance(value, IntervalSweep):
        return _interval(key, text, value)
    values = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise UserError(f"{key}={text} has no values; give at least one")
    return Choices(key, text, values)


def _interval(key: str, text: str, value: IntervalSweep) -> Interval:
    low, high = value.start, value.end
    assert low is not None and high is not None
    if unknown := value.tags - {"log"}:
        raise UserError(
            f"{key}={text} has the tag {min(unknown)}, expected log, the only tag with a meaning; remove it"
        )
    if not low < high or ("log" in value.tags and low <= 0):
        positive = " of positive numbers" if "log" in value.tags else ""
        raise UserError(f"{key}={text} is empty; expected interval(low, high){positive}, with low below high")
    return Interval(key, text, low, high, "log" in value.tags, isinstance(low, int))
