"""What a sweep tries: overrides of the command line and of a sweep's file, the fixed ones apart from those with values.

The grammar is Hydra's: `a=1,2`, `choice(...)`, `range(...)`, `glob(*)`, `interval(...)`, `tag(log, interval(...))`,
`int(interval(...))`. A value stays the text that an override has.
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

    key: str  # as an override has it, such as "optimizer.lr" or "+model.width"
    text: str  # as the person wrote it
    values: tuple[str, ...]

    @property
    def first(self) -> str:
        return self.values[0]


@dataclass(frozen=True)
class Interval:
    """A key that takes any number between two, both ends included."""

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
    """What is tried, and what is the same in every job."""

    dimensions: tuple[Dimension, ...]
    fixed: tuple[str, ...]  # overrides

    def keys(self) -> list[str]:
        """The keys that are swept, without the + of those that a config does not have."""
        return [dimension.key.lstrip("+") for dimension in self.dimensions]

    def texts(self) -> dict[str, str]:
        """What is tried as the person wrote it, by key."""
        return {dimension.key: dimension.text for dimension in self.dimensions}

    def overrides(self, values: Assignment) -> list[str]:
        """The overrides that give a job its values."""
        return [f"{key}={value}" for key, value in values.items()]

    def grid(self) -> list[Assignment]:
        """All combinations, the last key changing fastest; one without values where nothing is swept."""
        values = []
        for dimension in self.dimensions:
            if isinstance(dimension, Interval):
                raise UserError(
                    f"{dimension.key}={dimension.text} has no end of values for a grid; give some "
                    f"({dimension.key}=choice(...) or range(...)), or set hydra.sweeper.search=random or tpe"
                )
            values.append(dimension.values)
        keys = [dimension.key for dimension in self.dimensions]
        return [dict(zip(keys, combination, strict=True)) for combination in product(*values)]

    def first(self) -> Assignment:
        """One combination, to see whether it can be composed."""
        return {dimension.key: dimension.first for dimension in self.dimensions}


def read(params: Mapping[str, Any], arguments: Iterable[str], loader: ConfigLoader | None) -> SearchSpace:
    """The space of a sweep; what the command line says of a key takes the place of what the file says.

    Raises:
        UserError: a value that cannot be read, or an empty choice.
    """
    lines = [*(f"{key}={_text(key, value)}" for key, value in params.items()), *arguments]
    overrides = {override.get_key_element().lstrip("+"): override for override in _parsed(lines, loader)}
    swept = [override for override in overrides.values() if override.is_sweep_override()]
    fixed = [override for override in overrides.values() if not override.is_sweep_override()]
    return SearchSpace(tuple(map(_dimension, swept)), tuple(str(override.input_line) for override in fixed))


def _text(key: str, value: Any) -> str:
    """A value of a YAML as an override has it."""
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
        raise UserError(f"{key}={text} has the tag {min(unknown)}; the only one that says something is log")
    if not low < high or ("log" in value.tags and low <= 0):
        positive = " of positive numbers" if "log" in value.tags else ""
        raise UserError(f"{key}={text} is empty; expected interval(low, high){positive}, with low below high")
    return Interval(key, text, low, high, "log" in value.tags, isinstance(low, int))
