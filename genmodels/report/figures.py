"""What the figures are drawn from: of every way that runs were sampled, how good, how diverse, how fast."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

from genmodels.report.metrics import as_text, compared, drawn
from genmodels.report.seeds import Group, Spread
from genmodels.report.ways import ways
from genmodels.report.words import in_short, with_spread
from genmodels.run.run import Run

ONE_CALL = ("vae", "gan", "flow")  # families that draw a sample by one call of their network
LIKELIHOODS = ("test/bits_per_dim", "test/nll_nats")
QUALITY = ("fid", "kid", "density", "precision", "inception_score")  # how their names begin
DIVERSITY = ("recall", "coverage")
SPEED = "samples_per_second"
TOLD_BESIDE = ("bound", "draws")  # that points of likelihoods may differ in: their labels say so, and the figure's note


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One group of runs, sampled in one way."""

    group: int  # number of the group
    sampler: str | None
    settings: str  # the sampler's, but for its steps, which are what a line goes along
    steps: int | None  # of the sampler; None: it has none
    calls: int | None  # of the network for a sample; None: not known
    spreads: dict[str, Spread]  # by metric


def measured(groups: Sequence[Group]) -> list[Measured]:
    """Every group in every way that it was sampled."""
    return [found for number, group in enumerate(groups) for found in _ways(number, group)]


def _ways(number: int, group: Group) -> list[Measured]:
    every = ways([spread for spread in group.spreads if isfinite(spread.mean)])
    return [_measured(number, group.runs[0], way.results) for way in every if way.results]


def _measured(number: int, run: Run, spreads: Sequence[Spread]) -> Measured:
    how: dict[str, Any] = next((found for spread in spreads if (found := drawn(spread.protocol))), {})
    sampler = None if how.get("sampler") is None else str(how["sampler"])
    steps = _whole(how.get("sampler_steps"))
    if steps is None and "sampler_steps" in how:
        steps = _noise_levels(run)
    return Measured(
        group=number,
        sampler=sampler,
        settings=as_text({key: value for key, value in how.items() if key != "sampler_steps"}),
        steps=steps,
        calls=steps if "sampler_steps" in how else _calls(run),
        spreads={spread.key: spread for spread in spreads[::-1]},  # of several the first
    )


def _whole(steps: Any) -> int | None:
    """What a protocol from anywhere says of steps, as far as it is of the right kind."""
    return steps if isinstance(steps, int) and not isinstance(steps, bool) and steps > 0 else None


def _noise_levels(run: Run) -> int | None:
    """How many steps a sampler takes that takes all of its model's."""
    model = run.config["model"]
    process = model.get("process")
    schedule = (process if isinstance(process, dict) else model).get("schedule")
    steps = schedule.get("steps") if isinstance(schedule, dict) else None
    return steps if isinstance(steps, int) and steps > 0 else None


def _calls(run: Run) -> int | None:
    """Of a family without a sampler: one, or of an autoregressive model one for each entry."""
    shape = run.config["data"].get("shape")
    if run.family == "autoregressive" and isinstance(shape, list) and all(isinstance(d, int) and d > 0 for d in shape):
        return prod(shape)
    return 1 if run.family in ONE_CALL else None


def of_kind(metrics: Iterable[str], kinds: Sequence[str]) -> list[str]:
    """The metrics whose names begin so, in the order of the kinds, each once."""
    names = list(dict.fromkeys(metrics))
    return [metric for kind in kinds for metric in names if metric.rpartition("/")[2].startswith(kind)]


def plain(way: Measured) -> dict[str, Any]:
    """In plain containers, as the page's script takes it."""
    return {
        "group": way.group,
        "sampler": way.sampler,
        "settings": way.settings,
        "steps": way.steps,
        "calls": way.calls,
        "values": {metric: _value(spread) for metric, spread in way.spreads.items()},
    }


def _value(spread: Spread) -> dict[str, Any]:
    return {
        "mean": spread.mean,
        "std": spread.std,
        "n": spread.n,
        "text": with_spread(spread.mean, spread.std),
        "how": in_short(spread.protocol),
        "bound": spread.protocol.get("bound"),
        "against": as_text({key: v for key, v in compared(spread.protocol).items() if key not in TOLD_BESIDE}),
    }


def figures(ways: Sequence[Measured], groups: Sequence[Group]) -> dict[str, bool]:
    """Which figures there are data for, on any one dataset."""
    by_dataset: dict[str, list[Measured]] = {}
    for way in ways:
        by_dataset.setdefault(groups[way.group].runs[0].dataset, []).append(way)
    sets = list(by_dataset.values())
    return {
        "trilemma": any(_have(s, QUALITY, DIVERSITY, (SPEED,)) > 1 for s in sets),
        "likelihood": any(_have(s, QUALITY, ("bits_per_dim", "nll_nats")) > 1 for s in sets),
        "calls": any(_steps(s) for s in sets),
    }


def _have(ways: Sequence[Measured], *kinds: Sequence[str]) -> int:
    """How many have a metric of each kind."""
    return sum(all(of_kind(way.spreads, kind) for kind in kinds) for way in ways)


def _steps(ways: Sequence[Measured]) -> bool:
    """Whether any runs were sampled with several numbers of steps."""
    seen: dict[tuple[int, str], set[int]] = {}
    for way in ways:
        if of_kind(way.spreads, QUALITY) and way.calls is not None:
            seen.setdefault((way.group, way.settings), set()).add(way.calls)
    return any(len(calls) > 1 for calls in seen.values())
