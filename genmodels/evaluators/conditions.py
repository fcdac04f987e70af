"""Conditions of generated samples: sample number i gets the condition of row p(i) of the reference split.

p is a fixed permutation of the split, so that even a few samples have varied conditions. If there are more samples
than rows, it starts again.
"""

from typing import Any

import torch
from numpy.random import RandomState
from torch import nn

from genmodels.capabilities import Condition
from genmodels.errors import UserError
from genmodels.evaluators.dataset import Dataset
from genmodels.fields import Fields
from genmodels.trees import take, to

SEED = 0  # of the permutation, independent of the seed of the evaluation


def conditions_of(model: nn.Module) -> Fields:
    """The conditions of a model; {}: unconditional."""
    return getattr(model, "condition", {})


def given(model: nn.Module, condition: Condition) -> Condition:
    """The conditions of data that a model uses."""
    return {name: condition[name] for name in conditions_of(model)}


def refuse_conditions(model: nn.Module, data: Dataset) -> None:
    """UserError where the data lack a condition of the model, or have it in another shape."""
    for name, field in conditions_of(model).items():
        found = data.condition.get(name)
        if found is None or found[:3] != field[:3]:
            have = f"{name} as {found}" if found else ", ".join(data.condition) or "no conditions"
            raise UserError(
                f"{type(model).__name__} is conditional on {name} ({field}), and {data.name} has {have}; "
                "evaluate it on data like its training data, or train another model"
            )


class Conditions:
    """The conditions of generated samples by number; empty for an unconditional model."""

    def __init__(self, model: nn.Module, data: Dataset, split: str):
        self.split = f"{data.name}/{split}"
        self.rows: Condition = {}
        if conditions_of(model):
            _, condition = data.split(split)
            self.rows = given(model, condition)
            n = len(next(iter(self.rows.values())))
            self.order = torch.from_numpy(RandomState(SEED).permutation(n))

    def of(self, index: range, device: torch.device) -> Condition:
        """The conditions of the samples with these numbers."""
        if not self.rows:
            return {}
        return to(take(self.rows, self.order[torch.tensor(index) % len(self.order)]), device)

    def protocol(self) -> dict[str, Any]:
        """The part of the protocol about conditions."""
        if not self.rows:
            return {}
        return {"conditions": f"{' and '.join(self.rows)} of {self.split}, permuted by seed {SEED}"}
