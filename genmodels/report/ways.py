"""The results of a run, or of runs that differ in their seeds, by how its samples were drawn and with which weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from genmodels.report.metrics import M, Measured, drawn, is_condition, of_model


@dataclass(frozen=True)
class Way(Generic[M]):
    """A row of a table: what was measured in one way, and what does not depend on it, such as a likelihood."""

    words: list[str]  # what tells it from the other ways, such as "sampler_eta=1.0"; nothing where it is the only one
    results: list[M]


def ways(results: Sequence[M]) -> list[Way[M]]:
    """One for each way in which the model was sampled, in the order of the results; one without any for none."""
    every: list[dict[str, Any]] = []
    for result in sorted(results, key=_last):  # stable
        if not any(_belongs(result, way) for way in every):
            every.append({**of_model(result.protocol), **drawn(result.protocol)})
    members = [[result for result in results if _belongs(result, way)] for way in every] or [[]]
    return [Way(words, found) for words, found in zip(_words(every) or [[]], members, strict=True)]


def _last(result: Measured) -> tuple[bool, bool, int]:
    """What may belong to the way of another comes after it."""
    return not _is_drawn(result), _is_timed(result), -len(of_model(result.protocol))


def _is_drawn(result: Measured) -> bool:
    return "n_generated" in result.protocol or bool(drawn(result.protocol))


def _is_timed(result: Measured) -> bool:
    return "hardware" in result.protocol


def _belongs(result: Measured, way: dict[str, Any]) -> bool:
    """Whether it was measured so: of the same model, and where samples were drawn, drawn the same way."""
    if not of_model(result.protocol).items() <= of_model(way).items():
        return False
    how, hows = drawn(result.protocol), drawn(way)
    if _is_timed(result):  # which conditions the samples had, takes no time
        return {key: value for key, value in how.items() if not is_condition(key)}.items() <= hows.items()
    return not _is_drawn(result) or how == hows


def _words(every: Sequence[dict[str, Any]]) -> list[list[str]]:
    """For each way the settings that it does not share with all others."""
    names = dict.fromkeys(key for way in every for key in way)
    differing = [key for key in names if any(way.get(key, ...) != every[0].get(key, ...) for way in every)]
    return [[f"{key}={_text(way[key])}" for key in differing if key in way] for way in every]


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
