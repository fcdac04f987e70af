"""The columns of a table of results: one for each metric and way of measuring it, so that its values are comparable."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from genmodels.evaluators.results import Mode
from genmodels.report.metrics import canonical, compared, in_order
from genmodels.report.seeds import Mean, SeedGroup
from genmodels.report.words import brief

LONGEST_VALUE = 40  # characters of a value


class Column(NamedTuple):
    """Results of one metric that may be compared if they are of one dataset."""

    metric: str  # with its split, such as "test/bits_per_dim"
    mode: Mode | None  # which values are better; None: neither
    words: tuple[str, ...]  # what distinguishes it from other columns of its metric, such as "bound elbo"

    def __str__(self) -> str:
        return self.metric + (f" ({', '.join(self.words)})" if self.words else "")


class Columns:
    """The columns that the results of some runs need.

    Two results on one dataset share a column only if they agree in everything that `compared` returns. Results on
    different datasets cannot be compared; they share a column unless results on one dataset need separate ones.
    """

    def __init__(self, groups: Iterable[SeedGroup]):
        found = [(group.run.dataset, result) for group in groups for result in group.results]
        by_metric: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for dataset, result in found:
            of_metric = by_metric.setdefault(result.key, {})
            of_metric.setdefault(dataset, []).append(compared(result.protocol))
        self._telling = {metric: _telling(list(sets.values())) for metric, sets in by_metric.items()}
        ordered = in_order(by_metric)
        every = dict.fromkeys(self.of(result) for _, result in found)
        self.all = sorted(every, key=lambda column: ordered.index(column.metric))

    def of(self, result: Mean) -> Column:
        """The column of a result."""
        protocol = compared(result.protocol)
        words = (_word(key, protocol) for key in self._telling.get(result.key, ()))
        return Column(result.key, result.mode, tuple(words))

    def placed(self, results: Iterable[Mean]) -> dict[Column, list[Mean]]:
        """The results by column, in their order."""
        found: dict[Column, list[Mean]] = {}
        for result in results:
            found.setdefault(self.of(result), []).append(result)
        return found

    def begun_with(self, first: Column | None) -> list[Column]:
        """All columns: this one, then others of its metric, then the rest in their order."""
        return sorted(self.all, key=lambda c: (c != first, first is None or c.metric != first.metric))


def _telling(sets: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """The first keys that together distinguish all protocols that differ within one of the sets."""
    kept: list[str] = []
    for key in dict.fromkeys(key for protocols in sets for protocol in protocols for key in protocol):
        if any(_kinds(protocols, [*kept, key]) > _kinds(protocols, kept) for protocols in sets):
            kept.append(key)
    return kept


def _kinds(protocols: Iterable[Mapping[str, Any]], of: Sequence[str]) -> int:
    """The number of different protocols, by these keys alone."""
    return len({canonical({key: protocol[key] for key in of if key in protocol}) for protocol in protocols})


def _word(key: str, protocol: Mapping[str, Any]) -> str:
    if key not in protocol:
        return f"no {key}"
    value = brief(protocol[key])
    return f"{key} {value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + '...'}"
