"""genmodels evaluate samples=... reference=...: scores images that any program made."""

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genmodels.cli.config.compose import resolved
from genmodels.errors import UserError

SUBSETS = "evaluator.kid.subset_size"


def task(cfg: DictConfig) -> None:
    """One scoring, from its composed config."""
    from genmodels.cli.config.check import check, chosen
    from genmodels.cli.config.origin import on_command_line, origin
    from genmodels.cli.config.schema import EvaluateImages
    from genmodels.cli.many.spawn import run_on

    config = resolved(cfg)
    check(config, EvaluateImages, origin)
    evaluators = chosen(config["evaluator"])
    refuse_evaluators(evaluators, on_command_line)
    by_hand = [key for key in (SUBSETS,) if on_command_line(key)]
    run_on(config["devices"], score, {**config, "evaluator": evaluators, "by_hand": by_hand})


def refuse_evaluators(nodes: Mapping[str, Any], by_hand: Callable[[str], bool]) -> None:
    """A UserError unless all evaluators are of samples, and the number of these is left to `n`."""
    from genmodels.cli import build
    from genmodels.evaluators.base import SampleMetric

    if not nodes:
        raise UserError("there is nothing to measure; choose evaluator=[fid]")
    for name, node in nodes.items():
        metric = build.class_of(node)
        if not issubclass(metric, SampleMetric) or metric.conditional:
            raise UserError(f"evaluator={name} measures a model, and samples= gives images; choose evaluator=[fid]")
        if by_hand(f"evaluator.{name}.n"):
            raise UserError(f"evaluator.{name}.n is for samples that a model draws; of images that are there, set n=")


def score(config: dict[str, Any]) -> None:
    """The part of this process in scoring the images that a checked, resolved config names; `by_hand` in it are keys
    that a person set."""
    from genmodels.cli import build, sources
    from genmodels.cli.many.group import device_named, process_group
    from genmodels.cli.metric_pictures import saves_pictures
    from genmodels.cli.tables import evaluation_progress, show_paths, show_results
    from genmodels.evaluators.evaluate import measure
    from genmodels.rank import is_rank_zero
    from genmodels.run.results import add_results

    device, run_dir = device_named(config["device"]), Path(config["run_dir"])
    samples = sources.samples(config["samples"])
    reference, data = sources.reference(config)
    sources.refuse_data_units(samples, data)
    n = number(config["n"], len(samples), samples.name)
    chosen = evenly(n, len(samples))
    metrics = build.parts(sized(config["evaluator"], n, min(n, sources.count(reference, n)), config["by_hand"]))
    features = build.part(config["features"])
    with process_group(device), evaluation_progress() as progress:
        drawn, against = sources.ready(features, config, samples, reference, data, device)
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
        add_results(run_dir / "results.json", [record.to_dict() for record in records])
        show_results(records, f"{n} images of {samples.name} against {reference.name}")
        show_paths({"results": run_dir / "results.json"})


def number(n: int | None, there: int, name: str) -> int:
    """How many samples are scored."""
    if there < 2 or (n is not None and not 2 <= n <= there):
        asked = "" if n is None else f"n={n} of "
        raise UserError(f"got {asked}{there} images in {name}, expected at least 2, and no more than there are")
    return there if n is None else n


def evenly(n: int, there: int) -> list[int]:
    """The numbers of n images, spread evenly over all that are there: of each class as many as it has a share."""
    return [i * there // n for i in range(n)]


def about_choice(n: int, there: int) -> dict[str, str]:
    """What the protocol says of which images count, unless all do."""
    return {} if n == there else {"samples_chosen": f"evenly over {there}"}


def sized(nodes: Mapping[str, Any], n: int, least: int, by_hand: Container[str]) -> dict[str, Any]:
    """The evaluators for n samples. With fewer images on a side than a subset of kid has, it takes all at once."""
    parts = {name: {**node, "n": n} for name, node in nodes.items()}
    kid = parts.get("kid", {"subset_size": None})
    if (kid["subset_size"] or 0) > least and SUBSETS not in by_hand:
        kid["subset_size"] = None
    return parts
