"""The metric that a sweep optimises, always on the split that is evaluated during training, never on the test split."""

from collections.abc import Mapping, Sequence
from typing import Any

from genmodels.config.messages import suggestion
from genmodels.errors import UserError
from genmodels.sweeps.settings import SweepSettings
from genmodels.training.callbacks.pruning import Mode

Modes = dict[str, Mode]  # name of a result -> whether low or high values are better
FURTHER_RESULTS: dict[str, dict[str, Mode]] = {  # results of our evaluators after their first one
    "bits_per_dim": {"nll_nats": "min", "elbo_nats": "max"},
    "nll_nats": {"elbo_nats": "max"},
    "precision": {"recall": "max"},
    "density": {"coverage": "max"},
}


def evaluated(config: Mapping[str, Any]) -> Modes:
    """The first result of each evaluator that applies in a job, under its logged name."""
    from genmodels.config.check import chosen
    from genmodels.engine import build
    from genmodels.evaluators.evaluate import applicable
    from genmodels.evaluators.subject import Subject

    evaluation = chosen(config["callbacks"]).get("evaluation")
    evaluators = build.instances(chosen(config["evaluator"]))
    if evaluation is None or not evaluators:
        return {}
    subject = Subject(model=build.instance(config["model"]), data=build.instance(config["data"]))
    features = build.instance(config["features"])
    able = applicable(subject.model, evaluators, subject.data).values()
    split, extractor = evaluation["split"], features.name if features else ""
    return {f"{split}/{e.metrics(subject, extractor)[0]}": e.mode for e in able}


def followed(settings: SweepSettings, configs: Sequence[Mapping[str, Any]]) -> tuple[str | None, Mode]:
    """The metric of a sweep and its mode: the named one, else the first that all jobs evaluate, else None.

    The mode is that of the settings, else that of the evaluators.

    Raises:
        UserError: a job does not evaluate the metric, or the search needs a metric and there is none.
    """
    jobs = [evaluated(config) for config in configs]
    metric = settings.metric or next((name for name in jobs[0] if all(name in modes for modes in jobs)), None)
    if metric is None:
        if settings.search == "tpe" or settings.pruner is not None:
            what = "tpe search" if settings.search == "tpe" else "a pruner"
            raise UserError(f"{what} needs a metric, and no job evaluates one during training; choose evaluators")
        return None, "min"
    modes = {_mode(metric, modes) for modes in jobs}
    if settings.mode is None and len(modes) > 1:
        raise UserError(
            f"low values of {metric} are better in some jobs and high ones in others; set hydra.sweeper.mode"
        )
    return metric, settings.mode or modes.pop()


def _mode(metric: str, modes: Modes) -> Mode:
    """Whether low or high values of the metric are better in a job; UserError unless an evaluator gives it."""
    known = dict(modes)
    for first in modes:
        for kind, others in FURTHER_RESULTS.items():
            if kind in first:
                known |= {first.replace(kind, other, 1): mode for other, mode in others.items()}
    if metric not in known:
        if not modes:
            raise UserError(f"hydra.sweeper.metric={metric} is not evaluated: no evaluator is chosen")
        hint = suggestion(metric, list(modes))
        choices = hint if hint.endswith("?") else f"choices are {', '.join(modes)}"
        raise UserError(f"hydra.sweeper.metric={metric} is not evaluated while training; {choices}")
    return known[metric]
