"""From a model and evaluators to records: the likelihood over a split, and one pass of samples for the rest."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from genmodels.capabilities import Denoises, Samples
from genmodels.errors import UserError
from genmodels.evaluators.base import DataMetric, Evaluator, SampleMetric
from genmodels.evaluators.dataset import Data, picture_levels
from genmodels.evaluators.distributed import rank_and_world
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.reference import reference_of
from genmodels.evaluators.results import Progress, Record
from genmodels.seeds import seeded
from genmodels.units import to_pixels


class Sampler(Protocol):
    steps: int | None  # None: every one of the model's


class HasSampler(Protocol):
    sampler: Sampler


def silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""


def applicable(model: nn.Module, evaluators: Mapping[str, Evaluator]) -> dict[str, Evaluator]:
    """Those evaluators whose required capability the model has."""
    return {name: e for name, e in evaluators.items() if isinstance(model, e.requires)}


def evaluate(
    model: nn.Module,
    evaluators: Mapping[str, Evaluator],
    *,
    data: Data,
    split: str,
    features: Features | None,
    seed: int,
    batch_size: int,
    weights: str,
    device: torch.device,
    progress: Progress = silent,
) -> list[Record]:
    """Results of the applicable evaluators, a pure function of the arguments and the same on every process.

    `model` is in eval mode on `device`; `weights` says which it has, "ema" or "raw". `split` is what
    likelihoods are taken over and what records are filed under. Samples are drawn `batch_size` at a
    time, so that those of a smaller n are the first of a larger n's. Every process must call it.
    """
    able = applicable(model, evaluators).values()
    over_data = [e for e in able if isinstance(e, DataMetric)]
    over_samples = [e for e in able if isinstance(e, SampleMetric)]
    records = [r for e in over_data for r in e.measure(model, data, split, seed=seed, device=device, progress=progress)]
    if over_samples:
        extractor = prepared(features, data, device)
        sample_pass(model, over_samples, extractor, data, seed, batch_size, device, progress)
        records += [sample_record(model, e, extractor, data, split, batch_size, device, progress) for e in over_samples]
    common = {"weights": weights, "seed": seed, "dtype": dtype_of(model, device), "world_size": rank_and_world()[1]}
    return [replace(r, protocol=r.protocol | common) for r in records]


def prepared(features: Features | None, data: Data, device: torch.device) -> Features:
    """The extractor, ready for pictures of `data`."""
    picture_levels(data)
    if features is None:
        raise UserError("evaluators of samples need features and got none: choose features=classifier")
    features.prepare(data, device)
    return features


@torch.no_grad()
def sample_pass(
    model: nn.Module,
    metrics: list[SampleMetric],
    features: Features,
    data: Data,
    seed: int,
    batch_size: int,
    device: torch.device,
    progress: Progress,
) -> None:
    """Shows every metric its first n samples; chunk c has its own random numbers and belongs to one process."""
    rank, world = rank_and_world()
    for metric in metrics:
        metric.to(device).allocate(features.dim, features.classes)
    n = max(metric.n for metric in metrics)
    for start in range(rank * batch_size, n, world * batch_size):
        with seeded(seed, start // batch_size):
            x = cast(Samples, model).sample(batch_size)
        out = features(to_pixels(checked(x, data), picture_levels(data)))
        for metric in metrics:
            keep = min(batch_size, max(metric.n - start, 0))
            metric.update(out.features[:keep], out.logits[:keep], torch.arange(start, start + keep, device=device))
        progress("samples", min(start + batch_size, n), n)


def checked(x: Shaped[Tensor, "b *shape"], data: Data) -> Shaped[Tensor, "b *shape"]:
    """`x` itself, once it is known to be images in the data's units."""
    if x.dtype != torch.uint8 or x.shape[1:] != torch.Size(data.shape):
        raise UserError(
            f"the model's samples are {x.dtype} of shape {tuple(x.shape[1:])}, expected uint8 of shape "
            f"{tuple(data.shape)}: sample in the units of {data.name}, 0..{picture_levels(data) - 1}"
        )
    if int(x.max()) >= picture_levels(data):
        raise UserError(
            f"the model's samples reach {int(x.max())}, expected 0..{picture_levels(data) - 1}: "
            f"sample in the units of {data.name}"
        )
    return x


def sample_record(
    model: nn.Module,
    metric: SampleMetric,
    features: Features,
    data: Data,
    split: str,
    batch_size: int,
    device: torch.device,
    progress: Progress,
) -> Record:
    """A metric's result with what it was measured on."""
    reference = None
    if metric.reference is not None:
        reference = reference_of(
            data, metric.reference, features=features, batch=batch_size, device=device, progress=progress
        )
    value, std, about = metric.compute(reference)
    protocol = {"n_generated": metric.n, **about, **features.protocol(), **drawn_by(model)}
    return Record(
        metric=metric.primary(features.name, data.levels), split=split, value=value, std=std, protocol=protocol
    )


def drawn_by(model: nn.Module) -> dict[str, Any]:
    """What the protocol says of how the samples were drawn."""
    about: dict[str, Any] = {} if cast(Samples, model).classes is None else {"labels": "uniform"}
    if isinstance(model, Denoises):
        sampler = cast(HasSampler, model).sampler
        about |= {"sampler": type(sampler).__name__.lower(), "sampler_steps": sampler.steps}
    return about


def dtype_of(model: nn.Module, device: torch.device) -> str:
    """What the model computes in: its autocast type, or its parameters'."""
    if torch.is_autocast_enabled(device.type):
        return str(torch.get_autocast_dtype(device.type)).removeprefix("torch.")
    parameter = next(model.parameters(), torch.empty(()))
    return str(parameter.dtype).removeprefix("torch.")
