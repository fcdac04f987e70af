"""Images of one label on their way to another: the direction between the mean codes of both, applied to images."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch

from genmodels.capabilities import Batch, Encodes, why_not
from genmodels.data.base import Data, Split
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
    data = data_of(run.config["data"], trusted)
    ends = [labelled(data, "train", label, means_of, model) for label in labels]
    z_source, z_target = (mean_code(model, *end) for end in ends)
    x, condition = labelled(data, "test", labels.source, n, model)
    rows = moved(model, x, z_target - z_source, alphas, condition)
    if out is not None:
        save_rows(
            data, {"data": x, **{f"alpha {alpha:g}": row for alpha, row in zip(alphas, rows, strict=True)}}, Path(out)
        )
    return rows


def labelled(data: Data, split: SplitName, label: int, n: int, model: Any) -> Split:
    """The first `n` samples with this label, and the conditions that the model uses; UserError where there is none."""
    if "label" not in data.condition:
        raise UserError(f"{data.name} has no labels, expected some to tell samples apart; give a run on other data")
    x, condition = data.split(split)
    rows = torch.nonzero(condition["label"] == label).flatten()[:n]
    if not len(rows):
        raise UserError(f"the {split} split of {data.name} has no samples of label {label}; give another label")
    return Split(take(x, rows), {name: take(condition[name], rows) for name in condition_of(model)})


def save_rows(data: Data, rows: dict[str, Any], out: Path) -> None:
    """A picture of these batches above each other, by name; UserError where the data have none."""
    kind = kind_of(data.x)
    if not isinstance(kind, SideBySide):
        raise UserError(f"samples of {data.name} are not shown beside each other; leave out out=, and take the samples")
    save(kind.stacked([NamedSamples(name, x, kind.of) for name, x in rows.items()]), out)
