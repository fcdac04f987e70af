"""Images of one label on their way to another: the direction between the mean codes of both, applied to images."""

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch

from genmodels.capabilities import Batch, Encodes, why_not
from genmodels.data.base import Data, Split
from genmodels.disk.atomic import require_writable
from genmodels.errors import UserError
from genmodels.fields import SplitName
from genmodels.kinds import kind_of
from genmodels.kinds.base import NamedSamples, SideBySide
from genmodels.kinds.model_pictures import condition_of
from genmodels.latents import mean_code, moved
from genmodels.pictures import save
from genmodels.run.checkpoint import load
from genmodels.run.data import data_of
from genmodels.run.run import Run
from genmodels.trees import take


class Labels(NamedTuple):
    """From which label a direction leads to which."""

    source: int
    target: int


def latent_direction(
    run: Run,
    labels: Labels,
    *,
    alphas: Sequence[float],
    n: int,
    means_of: int,
    out: str | PathLike[str] | None,
    trusted: Sequence[str],
) -> list[Batch]:
    """As `genmodels.latent_direction` says."""
    model: Any = load(run, trusted=trusted)
    if reason := why_not(model, Encodes):
        raise UserError(f"{reason}; give a run of a model that encodes, such as a flow or a VAE")
    if min(n, means_of) < 1:
        raise UserError(f"n is {n} and means_of {means_of}, expected at least one sample each")
    data = data_of(run.config["data"], trusted)
    show = None if out is None else picture_of(data, Path(out))
    x, condition = labelled(data, "test", labels.source, n, model)
    z_source, z_target = (mean_code(model, *labelled(data, "train", label, means_of, model)) for label in labels)
    rows = moved(model, x, z_target - z_source, alphas, condition)
    if show is not None:
        show([x, *rows], ["data", *(f"alpha {alpha:g}" for alpha in alphas)])
    return rows


def picture_of(data: Data, out: Path) -> Callable[[Sequence[Any], Sequence[str]], None]:
    """What writes a picture of batches above each other, with their names; UserError where it could not."""
    kind = kind_of(data.x)
    if not isinstance(kind, SideBySide):
        raise UserError(f"samples of {data.name} are not shown beside each other; leave out out=, and take the samples")
    if out.suffix != ".png":
        raise UserError(f"out={out} is no .png, expected one for a picture; correct its ending")
    require_writable(out)

    def show(batches: Sequence[Any], names: Sequence[str]) -> None:
        rows = [NamedSamples(name, x, kind.of) for name, x in zip(names, batches, strict=True)]
        save(kind.stacked(rows), out)

    return show


def labelled(data: Data, split: SplitName, label: int, n: int, model: Any) -> Split:
    """The first `n` samples with this label, and the conditions that the model uses; UserError where there is none."""
    if "label" not in data.condition:
        raise UserError(f"{data.name} has no labels, expected some to tell samples apart; give a run on other data")
    x, condition = data.split(split)
    rows = torch.nonzero(condition["label"] == label).flatten()[:n]
    if not len(rows):
        raise UserError(f"the {split} split of {data.name} has no samples of label {label}; give another label")
    return Split(take(x, rows), {name: take(condition[name], rows) for name in condition_of(model)})
