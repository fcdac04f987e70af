"""From samples and evaluators to records: likelihoods, and one pass of samples, whoever made them, for the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor, nn

from genmodels.capabilities import Denoises, Samples
from genmodels.errors import UserError
from genmodels.evaluators.base import DataMetric, Evaluator, SampleMetric
from genmodels.evaluators.dataset import Data, are_pictures, picture_levels
from genmodels.evaluators.distributed import rank_and_world, shards
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.pictures import OfSplit, Pictures
from genmodels.evaluators.reference import Statistics, reference_of
from genmodels.evaluators.results import Progress, Record, metric_name
from genmodels.evaluators.shown import NOTHING, Show
from genmodels.seeds import ByNumber, seeded
from genmodels.units import to_pixels

Draw = Callable[[range], Tensor]  # the samples with these numbers, (b, c, h, w) uint8 in 0..255


class Sampler(Protocol):
    steps: int | None  # None: every one of the model's


class HasSampler(Protocol):
    sampler: Sampler


def silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""


def applicable(model: type, evaluators: Mapping[str, Evaluator], data: Data) -> dict[str, Evaluator]:
    """Those evaluators that require what a model of this class can do; of samples only where these are pictures."""
    shown = are_pictures(data)
    able = {name: e for name, e in evaluators.items() if issubclass(model, e.requires)}
    return {name: e for name, e in able.items() if shown or isinstance(e, DataMetric)}


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
    show: Show = NOTHING,
) -> list[Record]:
    """Results of the applicable evaluators, a pure function of the arguments and the same on every process.

    `model` is in eval mode on `device`; `weights` says which it has, "ema" or "raw". `split` is what
    likelihoods are taken over and what records are filed under. Sample number i has random numbers of
    (seed, i), so that a set of samples does not depend on `batch_size` or the number of processes, and
    begins with those of a smaller n. Every process must call it; `show` is given what the evaluators can show.
    """
    able = applicable(type(model), evaluators, data).values()
    over_data = [e for e in able if isinstance(e, DataMetric)]
    over_samples = [e for e in able if isinstance(e, SampleMetric)]
    how: dict[str, Any] = {"seed": seed, "device": device, "progress": progress, "show": show}
    records = [r for e in over_data for r in e.measure(model, data, split, **how)]
    if over_samples:
        records += measure(
            over_samples,
            drawing(model, data, seed),
            splits_of(over_samples, data),
            features=prepared(features, data, device),
            split=split,
            about=drawn_by(model),
            batch_size=batch_size,
            device=device,
            progress=progress,
            show=show,
        )
    common = {"weights": weights, "seed": seed, "dtype": dtype_of(model, device)}
    return [replace(r, protocol=r.protocol | common | {"world_size": rank_and_world()[1]}) for r in records]


def measure(
    metrics: Sequence[SampleMetric],
    draw: Draw,
    sources: Mapping[str, Pictures | Statistics],
    *,
    features: Features,
    split: str,
    about: Mapping[str, Any],
    batch_size: int,
    device: torch.device,
    progress: Progress = silent,
    show: Show = NOTHING,
) -> list[Record]:
    """Results over the first n samples that `draw` gives, whatever they come from, laid against references.

    `sources` are the references by the name under which a metric asks for one; `features` are prepared,
    and `about` is what the protocol says of the samples.
    """
    refuse_missing_images(metrics, sources)
    refuse_settings(metrics, sources)
    asked = {name: [m for m in metrics if m.reference == name] for name in sources}
    how: dict[str, Any] = {"features": features, "batch": batch_size, "device": device, "progress": progress}
    references = {
        name: reference_of(source, rows=any(m.needs == "features" for m in asked[name]), **how)
        for name, source in sources.items()
    }
    sample_pass(metrics, draw, features, batch_size, device, progress)
    records = []
    for metric in metrics:
        known = {"n_generated": metric.n, **features.protocol(), **about, "world_size": rank_and_world()[1]}
        for kind, value, std, other in metric.compute(references.get(metric.reference or "")):
            name = metric_name(kind, features.name, metric.n)
            records.append(Record(metric=name, split=split, value=value, std=std, protocol=known | other))
        if metric.needs == "features":
            show_beside(metric, sources[cast(str, metric.reference)], show)
    return records


def prepared(features: Features | None, data: Data, device: torch.device) -> Features:
    """The extractor, ready for pictures of `data`."""
    picture_levels(data)
    if features is None:
        raise UserError("evaluators of samples need features and got none: choose features=classifier")
    features.prepare(data, device)
    return features


def show_beside(metric: SampleMetric, source: Pictures | Statistics, show: Show) -> None:
    """Lets the metric show what it can beside pictures of the reference."""
    assert not isinstance(source, Statistics)
    metric.show(lambda index: source.read(index.tolist()), source.name, show)


@torch.no_grad()
def sample_pass(
    metrics: Sequence[SampleMetric],
    draw: Draw,
    features: Features,
    batch_size: int,
    device: torch.device,
    progress: Progress,
) -> None:
    """Shows every metric its first n samples, each by one process."""
    for metric in metrics:
        metric.to(device).allocate(features.dim, features.classes)
    n = max(metric.n for metric in metrics)
    for part in shards(n, batch_size):
        pixels = draw(part).to(device)
        out, index = features(pixels), torch.as_tensor(part, device=device)
        for metric in metrics:
            if keep := max(metric.n - part.start, 0):
                metric.update(out.features[:keep], out.logits[:keep], index[:keep])
                metric.look(pixels[:keep], index[:keep])
        progress("samples", part.stop, n)


def drawing(model: nn.Module, data: Data, seed: int) -> Draw:
    """The model's samples with given numbers, as pictures in 0..255."""

    def draw(index: range) -> UInt8[Tensor, "b c h w"]:
        n = len(index)
        with seeded(seed, index.start):  # for a model that draws from elsewhere than its rng
            x = cast(Samples, model).sample(n, rng=ByNumber(seed, index.start, n))
        return to_pixels(checked(x, data), picture_levels(data))

    return draw


def refuse_missing_images(metrics: Sequence[SampleMetric], sources: Mapping[str, Pictures | Statistics]) -> None:
    """A UserError where a metric needs the reference's images and there are only their moments."""
    for metric in metrics:
        source = sources.get(metric.reference or "")
        if metric.needs == "features" and isinstance(source, Statistics):
            raise UserError(
                f"{metric.kind} needs reference images, and {source.name} holds only their mu and sigma: "
                "choose evaluator=[fid,inception_score], or give the images"
            )


def splits_of(metrics: Sequence[SampleMetric], data: Data) -> dict[str, Pictures | Statistics]:
    """The splits of a dataset that metrics ask for as their references, by name."""
    return {metric.reference: OfSplit(data, metric.reference) for metric in metrics if metric.reference is not None}


def refuse_settings(metrics: Sequence[SampleMetric], sources: Mapping[str, Pictures | Statistics]) -> None:
    """A UserError where a metric's settings need more samples, or more reference images, than there will be."""
    for metric in metrics:
        metric.allocate(1, 2)  # in little room: it knows what n allows
        source = sources.get(metric.reference or "")
        if source is not None and not isinstance(source, Statistics):
            metric.require(len(source), source.name)


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
