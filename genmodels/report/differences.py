"""What distinguishes a run from others: its settings, without seed, paths, observers and measurements."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from genmodels.config.roles import Role, without
from genmodels.report.words import dotted, settings_in_words
from genmodels.run.run import Run

NOT_TOLD = (Role.REPEATS, Role.PLACE, Role.WATCHES, Role.MEASURES, Role.ABOUT)


def trained_by(run: Run) -> dict[str, Any]:
    """The config without seed, paths, observers and measurements."""
    return without(run.config, *NOT_TOLD)


def told_apart(runs: Sequence[Run]) -> dict[Run, list[str]]:
    """What distinguishes each run from the others, with shortened keys: ["lr=0.001", "width=8"]."""
    found = differences(runs)
    keys = {key for of_run in found for key in of_run}
    shortened = {key: short(key, keys) for key in keys}
    words = [settings_in_words({shortened[key]: v for key, v in of_run.items()}) for of_run in found]
    return dict(zip(runs, words, strict=True))


def differences(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each run its differences from others on its dataset: the overrides of its sweep; else its model, where there
    are several, and the keys in which runs of its model differ."""
    flat = {run: dict(dotted(trained_by(run))) for run in runs}
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        kinds.setdefault((run.dataset, run.model), []).append(flat[run])
    varying = {kind: _varying(members) for kind, members in kinds.items()}
    models = Counter(dataset for dataset, _ in kinds)
    return [
        _set_by_sweep(run)
        or ({"model": run.model} if models[run.dataset] > 1 else {})
        | {key: flat[run][key] for key in varying[run.dataset, run.model] if key in flat[run]}
        for run in runs
    ]


def _set_by_sweep(run: Run) -> dict[str, Any]:
    pairs = (word.partition("=") for word in run.overrides)
    return {key.lstrip("+~"): text for key, _, text in pairs if key != "seed"}


def _varying(members: Sequence[dict[str, Any]]) -> list[str]:
    """The keys whose values differ; of several keys that end in one name and always agree, only the first."""
    keys = dict.fromkeys(key for member in members for key in member)
    columns = {key: [member.get(key, ...) for member in members] for key in keys}
    found: list[str] = []
    for key, column in columns.items():
        same = any(key.split(".")[-1] == other.split(".")[-1] and column == columns[other] for other in found)
        if key != "name" and not same and any(v != column[0] for v in column):
            found.append(key)
    return found


def short(key: str, others: Iterable[str]) -> str:
    """The shortest end of a dotted key that no other key has: "lr" for "optimizer.lr"."""
    parts = key.split(".")
    ends = [".".join(parts[-n:]) for n in range(1, len(parts))]
    others = {other for other in others if other != key}
    return next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), key)
