"""What the page's script is given: plain containers that JSON can hold."""

from math import isfinite
from typing import Any

from genmodels.evaluators.results import Record
from genmodels.report.contents import Contents
from genmodels.report.curves import as_columns
from genmodels.report.figures import DIVERSITY, QUALITY, SPEED, of_kind, plain
from genmodels.report.words import duration, in_short, lines, with_spread
from genmodels.run.run import Run

LIKELIHOOD = ("bits_per_dim", "nll_nats")


def payload(contents: Contents) -> dict[str, Any]:
    """Runs with their results and curves, the groups over seeds, and what the figures are drawn from."""
    metrics = list(dict.fromkeys(column.metric for column in contents.order))
    return {
        "runs": [_run(contents, number) for number in range(len(contents.runs))],
        "groups": [_group(contents, number) for number in range(len(contents.groups))],
        "ways": [plain(way) for way in contents.ways],
        "directions": {column.metric: column.mode for column in contents.order},
        "quality": of_kind(metrics, QUALITY),
        "diversity": of_kind(metrics, DIVERSITY),
        "likelihood": of_kind(metrics, LIKELIHOOD),
        "speed": of_kind(metrics, (SPEED,)),
    }


def _run(contents: Contents, number: int) -> dict[str, Any]:
    run = contents.runs[number]
    return {
        "name": run.name,
        "folder": run.path.name,
        "dataset": run.dataset,
        "family": run.family,
        "seed": run.seed,
        "differs": contents.differs[number],
        "group": contents.group_of[number],
        "secondsPerImage": run.status.seconds_per_image,
        "about": about(run),
        "results": [_result(record) for record in run.results],
        "curves": {name: as_columns(points) for name, points in contents.curves[number].items()},
    }


def about(run: Run) -> list[tuple[str, str]]:
    """Facts of a run that are no results."""
    unknown = f", and of {run.status.killed} that was killed, which left no time" if run.status.killed else ""
    facts = {
        "directory": str(run.path),
        "model": run.model,
        "status": run.status.state,
        "error": run.status.error,
        "steps": str(run.status.step),
        "images seen": str(run.status.images_seen),
        "time": f"{duration(run.status.seconds)}{unknown}" if run.status.seconds is not None else None,
        "hardware": run.status.hardware,
        "commit": run.status.commit,
        "set by the sweep": ", ".join(run.overrides) or None,
    }
    return [(key, text) for key, text in facts.items() if text is not None]


def _result(record: Record) -> dict[str, Any]:
    return {
        "metric": record.key,
        "value": record.value if isfinite(record.value) else None,
        "text": with_spread(record.value, record.std),
        "how": in_short(record.protocol),
        "protocol": list(lines(record.protocol)),
    }


def _group(contents: Contents, number: int) -> dict[str, Any]:
    group = contents.groups[number]
    first = contents.group_of.index(number)
    differs = contents.differs[first]
    words = ", ".join(differs[:3]) + (", ..." if len(differs) > 3 else "")
    same_name = {contents.runs[i].name for i, g in enumerate(contents.group_of) if g != number}
    run = group.runs[0]
    label = f"{run.name} {words}" if words and run.name in same_name else run.name
    return {
        "label": label,
        "short": label.removeprefix(f"{run.dataset}_"),  # where the dataset is said elsewhere
        "dataset": run.dataset,
        "family": run.family,
    }
