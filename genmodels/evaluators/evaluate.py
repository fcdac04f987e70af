"""Runs evaluators on a model or on existing samples; all metrics over samples share one pass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import torch
from jaxtyping import Integer, UInt8
from torch import Tensor, nn

from genmodels.capabilities import Batch, Condition, Samples
from genmodels.errors import UserError
from genmodels.evaluators.base import Evaluator, SampleMetric, completed
from genmodels.evaluators.conditions import Conditions, conditions_of, refuse_conditions
from genmodels.evaluators.dataset import Dataset, ImageDataset, picture_levels
from genmodels.evaluators.distributed import rank_and_world
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.pictures import PictureSet, SplitPictures
from genmodels.evaluators.precision import Precision, autocast, dtype_of
from genmodels.evaluators.reference import Statistics
from genmodels.evaluators.results import Progress, Record, silent
from genmodels.evaluators.shown import NOTHING, Show
from genmodels.evaluators.subject import Draw, Procedure, SampleSet, Subject
from genmodels.fields import Field
from genmodels.seeds import ByNumber, generator_on, seeded
from genmodels.units import to_pixels

KnownRecords = Mapping[str, list[Record]]  # results by the evaluator's name


def applicable(model: nn.Module, evaluators: Mapping[str, Evaluator], data: Dataset) -> dict[str, Evaluator]:
    """The evaluators that apply to this model on these data; UserError where the data lack the model's condition."""
    refuse_conditions(model, data)
    without = not_applicable(model, evaluators, data)
    able = {name: e for name, e in evaluators.items() if name not in without}
    conditions_from(model, sample_metrics(able))
    return able


def not_applicable(model: nn.Module, evaluators: Mapping[str, Evaluator], data: Dataset) -> dict[str, str]:
    """The evaluators that do not apply, and why."""
    reasons = {name: e.needs(Subject(model=model, data=data)) for name, e in evaluators.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def sample_metrics(evaluators: Mapping[str, Evaluator]) -> list[SampleMetric]:
    """The metrics over generated images."""
    return [e for e in evaluators.values() if isinstance(e, SampleMetric)]


def evaluate_model(model: nn.Module, evaluators: Mapping[str, Evaluator], **how: Any) -> list[Record]:
    """Results of the applicable evaluators, one after the other; see `by_evaluator`."""
    return [record for records in by_evaluator(model, evaluators, **how).values() for record in records]


def by_evaluator(
    model: nn.Module,
    evaluators: Mapping[str, Evaluator],
    *,
    data: Dataset,
    split: str,
    features: Features | None,
    seed: int,
    batch_size: int,
    weights: str,
    device: torch.device,
    precision: Precision = "32-true",
    progress: Progress = silent,
    show: Show = NOTHING,
    known: KnownRecords = MappingProxyType({}),
) -> dict[str, list[Record]]:
    """Results of each applicable evaluator, a pure function of the arguments and the same on every process.

    `model` is in eval mode on `device`; `weights` names its weights, "ema" or "raw". Likelihoods are measured on
    `split`, and records have this split. The random numbers of sample i are a function of (seed, i), so that a
    set of samples does not depend on `batch_size` or the number of processes, and begins with the set of a
    smaller n. `known` are results over the same samples for another split, which are not measured again. Every
    process must call it; `show` receives the pictures and values that evaluators can show.
    """
    how = Procedure(seed=seed, device=device, precision=precision, batch=batch_size, progress=progress, show=show)
    able = applicable(model, evaluators, data)
    again = {name: records for name, records in known.items() if isinstance(able.get(name), SampleMetric)}
    metrics = sample_metrics({name: e for name, e in able.items() if name not in again})
    with autocast(precision, device):
        subject = Subject(model=model, data=data, split=split, samples=samples_of(model, data, metrics, features, how))
        for evaluator in able.values():
            evaluator.check(subject)
        common = {"weights": weights, "seed": seed, "dtype": dtype_of(model, device)}
        common |= {"world_size": rank_and_world()[1]}
        return {
            name: [filed_under(record, split) for record in again[name]]
            if name in again
            else [completed(record, e.mode, common) for record in e.measure(subject, how)]
            for name, e in able.items()
        }


def samples_of(
    model: nn.Module,
    data: Dataset,
    metrics: Sequence[SampleMetric],
    features: Features | None,
    how: Procedure,
) -> SampleSet:
    """The model's samples, not drawn yet; UserError where the metrics cannot use them or the features."""
    sources = splits_of(metrics, data)
    refuse_settings(metrics, sources)
    if metrics:
        check_features(features, data, metrics)
    conditions = Conditions(model, data, conditions_from(model, metrics))
    return SampleSet(
        draw=drawing(model, conditions, how),
        to_pixels=lambda x: to_pixels(checked_samples(x, data), picture_levels(data)),
        about=sampling(model, conditions, how.device),
        listeners=metrics,
        sources=sources,
        extractor=lambda: prepared_features(features, data, how.device),
        how=how,
    )


def measure(
    metrics: Sequence[SampleMetric],
    draw: Callable[[range], UInt8[Tensor, "b c h w"]],
    sources: Mapping[str, PictureSet | Statistics],
    *,
    features: Features,
    split: str,
    about: Mapping[str, Any],
    batch_size: int,
    device: torch.device,
    progress: Progress = silent,
    show: Show = NOTHING,
) -> list[Record]:
    """Results over the first n images in 0..255 that `draw` returns, compared with references.

    `sources` are the references by the names that metrics use; `features` are prepared; `about` is the part of
    the protocol about the samples.
    """
    refuse_missing_images(metrics, sources)
    refuse_settings(metrics, sources)
    samples = SampleSet(
        draw=lambda index: (draw(index), {}),
        to_pixels=lambda x: cast(Tensor, x),
        about=about,
        listeners=metrics,
        sources=sources,
        extractor=lambda: features,
        how=Procedure(seed=0, device=device, precision="32-true", batch=batch_size, progress=progress, show=show),
    )
    return [record for metric in metrics for record in metric.results(samples, split, show)]


def check_features(features: Features | None, data: ImageDataset, metrics: Sequence[SampleMetric]) -> Features:
    """The extractor, not prepared yet; UserError where it does not suit `data` or one of the metrics."""
    picture_levels(data)
    if features is None:
        raise UserError("evaluators of samples need features and got none: choose features=classifier")
    features.check(data)
    for metric in metrics:
        metric.suits(features)
    return features


def prepared_features(
    features: Features | None, data: ImageDataset, device: torch.device, metrics: Sequence[SampleMetric] = ()
) -> Features:
    """The extractor, ready for pictures of `data`; UserError where one of the metrics cannot use it."""
    ready = check_features(features, data, metrics)
    ready.prepare(data, device)
    return ready


def drawing(model: nn.Module, conditions: Conditions, how: Procedure) -> Draw:
    """A function from numbers to the model's samples, in data units, with their conditions."""

    def draw(index: range) -> tuple[Batch, Condition]:
        n, condition = len(index), conditions.of(index, how.device)
        with seeded(how.seed, index.start):  # for a model that does not use its rng
            return cast(Samples, model).sample(n, condition, ByNumber(how.seed, index.start, n)), condition

    return draw


def sampling(model: nn.Module, conditions: Conditions, device: torch.device) -> dict[str, Any]:
    """The part of the protocol about sampling: every setting that changes the samples, and the generator of noise."""
    if not isinstance(model, Samples):
        return {}
    return {**model.sampling_protocol(), **conditions.protocol(), "noise": generator_on(device)}


def conditions_from(model: nn.Module, metrics: Sequence[SampleMetric]) -> str:
    """The split whose conditions the samples get: their reference split."""
    splits = sorted({metric.reference for metric in metrics if metric.reference is not None}) or ["train"]
    if len(splits) > 1 and conditions_of(model):
        raise UserError(
            f"the evaluators of samples have the references {' and '.join(splits)}, expected one, whose conditions "
            f"{type(model).__name__} is given: set the same evaluator.NAME.reference for all, or evaluate twice"
        )
    return splits[0]


def refuse_missing_images(metrics: Sequence[SampleMetric], sources: Mapping[str, PictureSet | Statistics]) -> None:
    """UserError where a metric needs reference images and there are only their moments."""
    for metric in metrics:
        source = sources.get(metric.reference or "")
        if metric.uses == "features" and isinstance(source, Statistics):
            raise UserError(
                f"{metric.kind} needs reference images, and {source.name} holds only their mu and sigma: "
                "choose evaluator=[fid,inception_score], or give the images"
            )


def splits_of(metrics: Sequence[SampleMetric], data: ImageDataset) -> dict[str, PictureSet | Statistics]:
    """The splits of a dataset that are references of the metrics, by name."""
    return {
        metric.reference: SplitPictures(data, metric.reference) for metric in metrics if metric.reference is not None
    }


def refuse_settings(metrics: Sequence[SampleMetric], sources: Mapping[str, PictureSet | Statistics]) -> None:
    """UserError where a metric's settings need more samples, or more reference images, than there will be."""
    for metric in metrics:
        metric.allocate(1, 2)  # small states: it checks the settings
        source = sources.get(metric.reference or "")
        if source is not None and not isinstance(source, Statistics):
            metric.require(len(source), source.name)


def checked_samples(x: Batch, data: Dataset) -> Integer[Tensor, "b c h w"]:
    """`x` itself; UserError where it is not images in the data's units."""
    assert isinstance(x, Tensor) and isinstance(data.x, Field)
    if x.dtype != data.x.dtype or tuple(x.shape[1:]) != data.x.shape:
        got, expected = (str(dtype).removeprefix("torch.") for dtype in (x.dtype, data.x.dtype))
        raise UserError(
            f"the model's samples are {got} of shape {tuple(x.shape[1:])}, expected {expected} of shape "
            f"{data.x.shape}: sample in the units of {data.name}, 0..{picture_levels(data) - 1}"
        )
    if int(x.max()) >= picture_levels(data):
        raise UserError(
            f"the model's samples reach {int(x.max())}, expected 0..{picture_levels(data) - 1}: "
            f"sample in the units of {data.name}"
        )
    return x


def filed_under(record: Record, split: str) -> Record:
    """The record of another split, recorded under this one."""
    return replace(record, split=split)
