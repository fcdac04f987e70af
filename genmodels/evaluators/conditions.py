"""What generated samples are conditioned on: sample number i on what comes with row p(i) of the reference split.

p is a permutation of the split, always the same, so that even a few samples have conditions of all sorts; where more
samples are asked for than the split has, it begins anew.
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

SEED = 0  # of the permutation; the evaluation's own seed plays no part


def condition_of(model: nn.Module) -> Fields:
    """What a model is conditional on; {}: nothing."""
    return getattr(model, "condition", {})


def given(model: nn.Module, condition: Condition) -> Condition:
    """What a model takes of the conditions that come with data."""
    return {name: condition[name] for name in condition_of(model)}


def refuse_conditions(model: nn.Module, data: Dataset) -> None:
    """UserError where the data lack what the model is conditional on, or have it in another shape."""
    for name, field in condition_of(model).items():
        found = data.condition.get(name)
        if found is None or found[:3] != field[:3]:
            have = f"{name} as {found}" if found else ", ".join(data.condition) or "no conditions"
            raise UserError(
                f"{type(model).__name__} is conditional on {name} ({field}), and {data.name} has {have}; "
                "evaluate it on data like those that it was trained on, or train another model"
            )


class Conditions:
    """The conditions of generated samples by number; none at all for an unconditional model."""

    def __init__(self, model: nn.Module, data: Dataset, split: str):
        self.split = f"{data.name}/{split}"
        self.rows: Condition = {}
        if condition_of(model):
            _, condition = data.split(split)
            self.rows = given(model, condition)
            n = len(next(iter(self.rows.values())))
            self.order = torch.from_numpy(RandomState(SEED).permutation(n))

    def of(self, index: range, device: torch.device) -> Condition:
        """What the samples with these numbers are conditioned on."""
        if not self.rows:
            return {}
        return to(take(self.rows, self.order[torch.tensor(index) % len(self.order)]), device)

    def protocol(self) -> dict[str, Any]:
        """What a result says of them."""
        if not self.rows:
            return {}
        return {"conditions": f"{' and '.join(self.rows)} of {self.split}, permuted by seed {SEED}"}
