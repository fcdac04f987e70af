"""Scores images of any program against reference images: with the evaluators of a checked config."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from genmodels.config.checked import SUBSETS
from genmodels.console import evaluation_progress, show_paths, show_results
from genmodels.engine import build, scored_images
from genmodels.engine.metric_pictures import saves_pictures
from genmodels.errors import UserError
from genmodels.evaluators.base import SampleMetric
from genmodels.evaluators.evaluate import measure
from genmodels.processes.group import device_named, process_group
from genmodels.rank import is_rank_zero
from genmodels.run.layout import RESULTS
from genmodels.run.results import add_results


def score(config: dict[str, Any]) -> None:
    """Scores the images that a checked, resolved config names; each process calls it and does its part.

    The config's `by_hand` lists keys that the user has set.
    """
    require_metrics_of_images(config["evaluator"])
    device, run_dir = device_named(config["device"]), Path(config["run_dir"])
    samples = scored_images.images_to_score(config["samples"])
    reference, data = scored_images.reference(config)
    scored_images.refuse_data_units(samples, data)
    n = how_many(config["n"], len(samples), samples.name)
    chosen = spread_indices(n, len(samples))
    least = min(n, scored_images.image_count(reference, n))
    metrics = build.instances(sized(config["evaluator"], n, least, config["by_hand"]))
    features = build.instance(config["features"])
    with process_group(device), evaluation_progress() as progress:
        drawn, against = scored_images.prepare_sides(features, config, samples, reference, data, device)
        records = measure(
            list(metrics.values()),
            lambda index: drawn.read([chosen[i] for i in index]),
            {metric.reference: against for metric in metrics.values() if metric.reference is not None},
            features=features,
            split="test",
            about={"samples": samples.name, "samples_fingerprint": samples.sha256, **about_choice(n, len(samples))},
            batch_size=config["batch_size"],
            device=device,
            progress=progress,
            show=saves_pictures(run_dir),
        )
    if is_rank_zero():
        add_results(run_dir / RESULTS, [record.to_dict() for record in records])
        show_results(records, f"{n} images of {samples.name} against {reference.name}")
        show_paths({"results": run_dir / RESULTS})


def how_many(n: int | None, there: int, name: str) -> int:
    """The number of samples to score."""
    if there < 2 or (n is not None and not 2 <= n <= there):
        asked = "" if n is None else f"n={n} of "
        raise UserError(f"got {asked}{there} images in {name}, expected at least 2, and at most all of them")
    return there if n is None else n


def spread_indices(n: int, there: int) -> list[int]:
    """Indices of n images, spread evenly over all: of images sorted by class, each class gets its share."""
    return [i * there // n for i in range(n)]


def about_choice(n: int, there: int) -> dict[str, str]:
    """The protocol's entry for which images were scored; {} for all."""
    return {} if n == there else {"samples_chosen": f"evenly over {there}"}


def sized(nodes: Mapping[str, Any], n: int, least: int, by_hand: Container[str]) -> dict[str, Any]:
    """The evaluators for n samples. If a side has fewer images than a subset of kid, kid uses all images at once."""
    parts = {name: {**node, "n": n} for name, node in nodes.items()}
    kid = parts.get("kid", {"subset_size": None})
    if (kid["subset_size"] or 0) > least and SUBSETS not in by_hand:
        kid["subset_size"] = None
    return parts


def require_metrics_of_images(nodes: Mapping[str, Any]) -> None:
    """UserError unless there are evaluators, and all of them measure samples."""
    if not nodes:
        raise UserError("no evaluator is chosen; set evaluator=[fid]")
    for name, node in nodes.items():
        metric = build.class_of(node)
        if not issubclass(metric, SampleMetric) or metric.conditional:
            raise UserError(f"evaluator={name} measures a model, and samples= gives images; choose evaluator=[fid]")
