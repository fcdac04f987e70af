"""The data for the page's script, as plain containers for JSON."""

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

from genmodels.report.contents import Contents
from genmodels.report.curves import as_columns
from genmodels.report.entries import entries
from genmodels.report.metrics import canonical, compared_but_bound, drawn, of_kinds
from genmodels.report.seeds import Mean, SeedGroup
from genmodels.report.words import duration, in_full, in_short, with_spread
from genmodels.run.run import Run

METRIC_KINDS = {  # metrics for the axes of figures
    "quality": ("fid", "kid", "density", "precision", "inception_score"),
    "diversity": ("recall", "coverage"),
    "likelihood": ("bits_per_dim", "nll_nats"),
    "speed": ("samples_per_second",),
}
AXES = {"trilemma": ("quality", "diversity", "speed"), "likelihood": ("quality", "likelihood"), "steps": ("quality",)}


def payload(contents: Contents) -> dict[str, Any]:
    """Runs with their results and curves, the groups over seeds, and the points of the figures."""
    points = _points(contents.groups)
    metrics = [column.metric for column in contents.order]
    return {
        "runs": [_run(contents, run) for run in contents.runs],
        "groups": [_group(contents, group) for group in contents.groups],
        "points": points,
        "figures": figures(points, contents.groups),
        "axes": AXES,
        "directions": {column.metric: column.mode for column in contents.order},
        "kinds": {kind: of_kinds(metrics, names) for kind, names in METRIC_KINDS.items()},
    }


def _run(contents: Contents, run: Run) -> dict[str, Any]:
    return {
        "name": run.name,
        "folder": run.path.name,
        "dataset": run.dataset,
        "family": run.family,
        "seed": run.seed,
        "differs": contents.told[run],
        "group": contents.group_of[run],
        "secondsPerImage": run.status.seconds_per_image,
        "about": _facts(run),
        "results": [
            {"metric": one.key, "text": with_spread(one.value, one.std), "protocol": in_full(one.protocol)}
            for one in run.results
        ],
        "curves": {name: as_columns(points) for name, points in contents.curves[run].items()},
    }


def _facts(run: Run) -> list[tuple[str, str]]:
    """Facts about a run other than results."""
    status = run.status
    unknown = f", and of {status.killed} that was killed, which left no time" if status.killed else ""
    facts = {
        "directory": str(run.path),
        "model": run.model,
        "status": status.state,
        "error": status.error,
        "steps": str(status.step),
        "images seen": str(status.images_seen),
        "time": f"{duration(status.seconds)}{unknown}",
        "hardware": status.hardware,
        "commit": status.commit,
        "set by the sweep": ", ".join(run.overrides) or None,
    }
    return [(key, text) for key, text in facts.items() if text is not None]


def _group(contents: Contents, group: SeedGroup) -> dict[str, Any]:
    run = group.run
    others = [contents.told[g.run] for g in contents.groups if g.run.name == run.name and g is not group]
    differs = [word for word in contents.told[run] if any(word not in words for words in others)]
    label = " ".join([run.name, ", ".join(differs[:3]) + ", ..." * (len(differs) > 3)]).strip()
    short = label.removeprefix(f"{run.dataset}_")  # for places that show the dataset elsewhere
    return {"label": label, "short": short, "dataset": run.dataset, "family": run.family}


def _points(groups: Sequence[SeedGroup]) -> list[dict[str, Any]]:
    """The points of the figures: one for each group of runs and way of sampling."""
    finite = [replace(group, results=[mean for mean in group.results if isfinite(mean.value)]) for group in groups]
    return [_point(number, row.results) for number, g in enumerate(finite) for row in entries([g]) if row.results]


def _point(group: int, results: Sequence[Mean]) -> dict[str, Any]:
    how: dict[str, Any] = next((found for mean in results if (found := drawn(mean.protocol))), {})
    steps = how.pop("sampler_steps", None)
    return {
        "group": group,
        "sampler": how.get("sampler"),
        "settings": canonical(how),  # points with the same settings and different steps form a line
        "steps": steps if type(steps) is int and steps > 0 else None,  # None: no steps, or unknown
        "values": {mean.key: _value(mean) for mean in results[::-1]},  # the first of several
    }


def _value(mean: Mean) -> dict[str, Any]:
    return {
        "mean": mean.value,
        "std": mean.std,
        "n": mean.n,
        "text": with_spread(mean.value, mean.std),
        "how": in_short(mean.protocol),
        "bound": mean.protocol.get("bound"),
        "against": canonical(compared_but_bound(mean.protocol)),  # the label shows the bound
    }


def figures(points: Sequence[dict[str, Any]], groups: Sequence[SeedGroup]) -> dict[str, bool]:
    """Which figures have data: two points on one dataset; for steps, two numbers of steps of one model."""
    found = {}
    for figure, kinds in AXES.items():
        whole = [p for p in points if all(of_kinds(p["values"], METRIC_KINDS[kind]) for kind in kinds)]
        lines = {(p["group"], p["settings"], p["steps"]) for p in whole if p["steps"]}
        datasets = [groups[p["group"]].run.dataset for p in whole]
        places: list[Any] = [line[:2] for line in lines] if figure == "steps" else datasets
        found[figure] = len(places) > len(set(places))
    return found
