"""The top level of each command's config, as a call: its keys, their types, and what they mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genmodels.ranges import FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveInt, RelativeStd

Part = Mapping[str, Any]  # a mapping with `_target_`: a constructor call
Parts = Mapping[str, Part]  # parts by name


@dataclass(kw_only=True)
class Baseline:
    """The published number that an experiment aims at, or a variant of it that is named as such."""

    system: str  # as the paper calls it, such as "IWAE, 1 layer, k = 5"
    paper: str  # such as "Burda et al. 2016"
    link: str
    metric: str  # ours that is laid beside the figure, such as "test/nll_nats"
    figure: FiniteFloat  # the paper's
    source: str  # where the figure was read
    protocol: str  # how the paper measured, in words
    tolerance: tuple[FiniteFloat, FiniteFloat]  # what ours may be below and above the figure: [-0.5, 0.3]
    variant: str | None  # how this is shorter or smaller than the paper's; null: it is the paper's
    minutes: NonNegativeFloat  # of one seed on 2 CPU cores, about; what is cheapest is reproduced first


@dataclass(kw_only=True)
class Train:
    """configs/train.yaml"""

    name: str  # of the experiment: names the folder of its runs, and the run in W&B
    seed: NonNegativeInt
    run_dir: str
    resume: str | None  # a run directory to go on with
    trusted: Sequence[str]  # packages whose classes the config of a resumed run may build
    baseline: Baseline | None  # what the run is to reproduce
    data: Part
    model: Part
    optimizer: Part
    players: Mapping[str, Any]  # by a player's name: what differs from `optimizer` for it
    parameter_groups: Mapping[str, Any]  # by name: which weights, and what differs from `optimizer` for them
    scheduler: Part
    ema: Part
    compile: bool  # the networks, by torch.compile
    channels_last: bool  # how the weights of 2-D convolutions lie in memory
    nan_policy: Literal["stop", "skip"]  # what to do with a step whose loss or gradient is not finite
    eval_batch_size: PositiveInt  # images that an evaluator takes or draws at a time
    evaluator: Parts
    features: Part | None
    sampler: Part | None
    callbacks: Parts
    logger: Parts
    trainer: Part


@dataclass(kw_only=True)
class ReferenceData:
    """Where a dataset's files lie."""

    root: str | None  # null: where its config says


@dataclass(kw_only=True)
class EvaluatedData:
    """What may differ from the run's own data."""

    root: str | None  # null: where the run had it, if you trained it
    path: str | None  # likewise
    test_path: str | None  # likewise


@dataclass(kw_only=True)
class Evaluate:
    """configs/evaluate.yaml"""

    run: str | None
    checkpoint: str | None
    which: Literal["last", "best"]
    split: Literal["train", "val", "test"]
    seed: NonNegativeInt
    batch_size: PositiveInt
    device: str
    devices: PositiveInt  # processes on this machine
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    trusted: Sequence[str]  # further packages whose classes the file's config may build
    run_dir: str
    data: EvaluatedData
    evaluator: Parts | None
    features: Part | None
    sampler: Part | None


@dataclass(kw_only=True)
class EvaluateImages:
    """configs/evaluate_images.yaml"""

    samples: str
    reference: str
    reference_split: Literal["train", "val", "test"] | None
    n: PositiveInt | None
    classifier_data: str | None
    batch_size: PositiveInt
    device: str
    devices: PositiveInt  # processes on this machine
    run_dir: str
    data: ReferenceData
    evaluator: Parts
    features: Part


@dataclass(kw_only=True)
class Sample:
    """configs/sample.yaml"""

    run: str | None
    checkpoint: str | None
    which: Literal["last", "best"]
    task: Literal["sample", "translate"]
    n: PositiveInt
    out: str | None  # null: samples.png, samples.txt or samples.npz, as the kind of the samples has it
    label: NonNegativeInt | Sequence[NonNegativeInt] | None
    condition: str | None  # a split of the run's data, or an .npz of arrays by name
    source: NonNegativeInt | None  # of translate: domains
    target: NonNegativeInt | None
    images: str | None
    seed: NonNegativeInt
    batch_size: PositiveInt
    device: str
    devices: PositiveInt  # processes on this machine
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    trusted: Sequence[str]  # further packages whose classes the file's config may build
    sampler: Part | None


@dataclass(kw_only=True)
class Export:
    """configs/export.yaml"""

    run: str | None
    checkpoint: str | None
    which: Literal["last", "best"]
    out: str
    weights: Literal["raw", "ema"] | None
    relative_std: RelativeStd | None  # of an average put together from the run's snapshots
    trusted: Sequence[str]  # further packages whose classes the file's config may build
