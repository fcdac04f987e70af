"""The conditions of samples to draw: labels, rows of the run's data, or arrays in a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from genmodels.capabilities import Condition
from genmodels.data.npz import read_npz
from genmodels.errors import UserError
from genmodels.fields import Field, Fields, SplitName, in_range
from genmodels.run.data import data_of


def conditions(model: Any, config: Mapping[str, Any], node: Any) -> Condition:
    """The conditions of `n` samples, {} for an unconditional model. UserError where they do not fit the model.

    Sample i gets the i-th of the given labels or rows, which repeat if there are fewer than n. By default a
    class-conditional model gets every class in turn.
    """
    fields: Fields = model.condition
    label, named, n = config["label"], config["condition"], config["n"]
    for key, value in (("label", label), ("condition", named)):
        if value is not None and not fields:
            raise UserError(f"{key}={value} is for a conditional model, and this one is unconditional; leave it out")
    rows = {} if named is None else dict(rows_of(named, fields, config, node))
    if label is not None:
        rows["label"] = label_tensor(label, fields)
    elif named is None and fields.keys() == {"label"}:
        rows["label"] = torch.arange(fields["label"].levels or 1)
    if missing := sorted(fields.keys() - rows.keys()):
        raise UserError(
            f"this model is conditional on {missing[0]} ({fields[missing[0]]}), which has no default; give "
            f"condition=val for rows of the run's data, or condition=FILE.npz with an array {missing[0]}"
        )
    return {name: values[torch.arange(n) % len(values)] for name, values in rows.items()}


def label_tensor(label: int | Sequence[int], fields: Fields) -> Int[Tensor, " k"]:
    """The given labels as a tensor; UserError unless the model is conditional on labels and has these classes."""
    if "label" not in fields:
        raise UserError(
            f"label={label} is for a model conditional on labels, and this one is conditional on {', '.join(fields)}"
        )
    classes, labels = fields["label"].levels or 0, [label] if isinstance(label, int) else label
    if not labels or not all(0 <= each < classes for each in labels):
        raise UserError(f"label is {label}, expected 0..{classes - 1}, or a list of these")
    return torch.tensor(labels)


def rows_of(named: str, fields: Fields, config: Mapping[str, Any], node: Any) -> Condition:
    """Those conditions of a split, or in a file, that the model takes."""
    if named in get_args(SplitName):
        there = data_of(node, config["trusted"]).split(named).condition  # type: ignore[arg-type]
        return {name: there[name] for name in fields if name in there}
    path = Path(named).expanduser()
    if not path.is_file():
        raise UserError(
            f"condition={named} is neither a split (train, val, test) nor an existing .npz file; give one of these"
        )
    arrays = read_npz(path)
    if unknown := sorted(arrays.keys() - fields.keys()):
        raise UserError(f"{path} has the condition {unknown[0]}, and this model takes {', '.join(fields)}; rename it")
    return {name: as_rows(array, fields[name], f"{path}: {name}") for name, array in arrays.items()}


def as_rows(array: np.ndarray, field: Field, name: str) -> Tensor:
    """An array as conditions of this field; UserError where dtype, shape or values do not fit."""
    kinds = "fiu" if field.levels is None else "iu"
    if array.shape[1:] != field.shape or array.dtype.kind not in kinds or not len(array):
        raise UserError(
            f"{name} is an array of {array.dtype}, shape {list(array.shape)}, expected n rows of {field}: "
            f"shape {['n', *field.shape]}"
        )
    values = torch.from_numpy(np.ascontiguousarray(array.astype(np.float32 if field.levels is None else np.int64)))
    if field.levels is not None and not in_range(values, field.levels):
        raise UserError(f"{name} has values {values.min()}..{values.max()}, expected 0..{field.levels - 1}")
    return values if field.kind == "label" else values.to(field.dtype)
