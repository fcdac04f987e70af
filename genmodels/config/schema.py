"""The top level of each command's config, as a dataclass: its keys, their types and meanings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from genmodels.ranges import FiniteFloat, NonNegativeFloat, NonNegativeInt, PositiveInt, RelativeStd

Part = Mapping[str, Any]  # a mapping with `_target_`: a constructor call
Parts = Mapping[str, Part]  # parts by name


@dataclass(kw_only=True)
class Baseline:
    """The published number that an experiment reproduces, or a variant of it that is named as such."""

    system: str  # as the paper calls it, such as "IWAE, 1 layer, k = 5"
    paper: str  # such as "Burda et al. 2016"
    link: str
    metric: str  # our metric that is compared with the figure, such as "test/nll_nats"
    figure: FiniteFloat  # the paper's number
    source: str  # where the figure was read
    protocol: str  # how the paper measured, in words
    tolerance: tuple[FiniteFloat, FiniteFloat]  # allowed difference below and above the figure: [-0.5, 0.3]
    variant: str | None  # how this is shorter or smaller than the paper's; null: it is the paper's
    minutes: NonNegativeFloat  # of one seed on 2 CPU cores, about; the cheapest is reproduced first


@dataclass(kw_only=True)
class Train:
    """configs/train.yaml"""

    name: str  # of the experiment: names the folder of its runs, and the run in W&B
    seed: NonNegativeInt
    run_dir: str
    resume: str | None  # a run directory to continue
    trusted: Sequence[str]  # packages whose classes the config of a resumed run may build
    baseline: Baseline | None  # the published number that the run reproduces
    data: Part
    model: Part
    optimizer: Part
    players: Mapping[str, Any]  # by a player's name: its settings that differ from `optimizer`
    parameter_groups: Mapping[str, Any]  # by name: which weights, and their settings that differ from `optimizer`
    scheduler: Part
    ema: Part
    compile: bool  # compile the networks by torch.compile
    channels_last: bool  # how the weights of 2-D convolutions lie in memory
    nan_policy: Literal["stop", "skip"]  # what to do with a step whose loss or gradient is not finite
    eval_batch_size: PositiveInt  # images that an evaluator processes at a time
    evaluator: Parts
    features: Part | None
    sampler: Part | None
    callbacks: Parts
    logger: Parts
    trainer: Part


@dataclass(kw_only=True)
class ReferenceData:
    """Where a dataset's files are."""

    root: str | None  # null: as in its config


@dataclass(kw_only=True)
class EvaluatedData:
    """Paths that may differ from those of the run's own data."""

    root: str | None  # null: as in the run, if you trained it
    path: str | None  # null: as in the run, if you trained it
    test_path: str | None  # null: as in the run, if you trained it


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
    task: Literal["sample", "complete", "translate"]
    n: PositiveInt
    out: str | None  # null: samples.png, samples.txt or samples.npz, by the kind of the samples
    label: NonNegativeInt | Sequence[NonNegativeInt] | None
    condition: str | None  # a split of the run's data, or an .npz of arrays by name
    source: NonNegativeInt | None  # task=translate: the domain to translate from
    target: NonNegativeInt | None  # task=translate: the domain to translate to
    given: NonNegativeInt | None  # task=complete: sites that are kept; null: the first half
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
    relative_std: RelativeStd | None  # width of an average that is reconstructed from the run's snapshots
    trusted: Sequence[str]  # further packages whose classes the file's config may build
