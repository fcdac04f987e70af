"""The metric that a sweep follows, always on the split that is evaluated while training, never on the test split."""

from collections.abc import Mapping, Sequence
from typing import Any

from genmodels.cli.config.complaints import nearest
from genmodels.cli.sweeps.settings import Settings
from genmodels.errors import UserError
from genmodels.report.metrics import direction
from genmodels.training.callbacks.pruning import Mode

SECOND = {"nll_nats": "bits_per_dim", "elbo_nats": "bits_per_dim", "recall": "precision", "coverage": "density"}


def evaluated(config: Mapping[str, Any]) -> list[str]:
    """The first result of each evaluator that applies in a job, as it is logged while training."""
    from genmodels.cli import build
    from genmodels.cli.config.check import chosen
    from genmodels.evaluators.evaluate import applicable

    evaluation = chosen(config["callbacks"]).get("evaluation")
    if evaluation is None:
        return []
    evaluators = build.parts(chosen(config["evaluator"]))
    features = build.part(config["features"])
    able = applicable(build.class_of(config["model"]), evaluators, build.part(config["data"]))
    named = (e.primary(features.name if features else "", config["data"]["levels"]) for e in able.values())
    return [f"{evaluation['split']}/{name}" for name in named]


def followed(settings: Settings, configs: Sequence[Mapping[str, Any]]) -> str | None:
    """The metric of a sweep: the one that is named, or the first that all jobs evaluate; None where there is none.

    Raises:
        UserError: a job does not evaluate the metric, or one is needed and there is none.
    """
    lists = [evaluated(config) for config in configs]
    if settings.metric is not None:
        for names in lists:
            _require(settings.metric, names)
        return settings.metric
    shared = next((name for name in lists[0] if all(name in names for names in lists)), None)
    if shared is None and (settings.search == "tpe" or settings.pruner is not None):
        what = "tpe search" if settings.search == "tpe" else "a pruner"
        raise UserError(f"{what} follows a metric, and no job evaluates one while training; choose evaluators")
    return shared


def mode_of(settings: Settings, metric: str | None) -> Mode:
    """Which way the metric is better."""
    return settings.mode or direction(metric or "")


def _require(metric: str, names: Sequence[str]) -> None:
    """UserError unless an evaluator gives the metric, as its first result or beside that."""
    split, _, name = metric.partition("/")
    first = [f"{split}/{name.replace(kind, other, 1)}" for kind, other in SECOND.items() if name.startswith(kind)]
    if not {metric, *first} & {*names}:
        if not names:
            raise UserError(f"hydra.sweeper.metric={metric} is not evaluated: no evaluator is chosen")
        hint = nearest(metric, list(names))
        choices = hint if hint.endswith("?") else f"choices are {', '.join(names)}"
        raise UserError(f"hydra.sweeper.metric={metric} is not evaluated while training; {choices}")
