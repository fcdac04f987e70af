"""Random samples with the fields of a dataset, without reading the dataset."""

import torch
from torch import Tensor

from genmodels.capabilities import Batch
from genmodels.data.base import Data, Split, Splits
from genmodels.fields import Field, Fields


class NoiseData(Data):
    """`n` random samples of these fields with random conditions."""

    def __init__(self, *, x: Field | Fields, condition: Fields, batch_size: int, n: int):
        first = x if isinstance(x, Field) else next(iter(x.values()))
        classes = condition["label"].levels if "label" in condition else None
        super().__init__(name="noise", shape=first.shape, levels=first.levels, classes=classes, batch_size=batch_size)
        self.x, self.condition, self.n = x, condition, n

    def read(self) -> Splits:
        generator = torch.Generator().manual_seed(0)
        condition = {name: noise(field, self.n, generator) for name, field in self.condition.items()}
        split = Split(batch_of(self.x, self.n, generator), condition)
        return Splits(split, split, split, training=split)

    def transform(self, x: Batch, generator: torch.Generator) -> Batch:
        return x


def batch_of(field: Field | Fields, n: int, generator: torch.Generator) -> Batch:
    """`n` random samples of one tensor or several."""
    if isinstance(field, Field):
        return noise(field, n, generator)
    return {name: noise(each, n, generator) for name, each in field.items()}


def noise(field: Field, n: int, generator: torch.Generator) -> Tensor:
    """`n` random values of a field, (n, *shape): standard normal, or uniform over the levels; labels are int64."""
    if field.levels is None:
        return torch.randn(n, *field.shape, generator=generator)
    x = torch.randint(field.levels, (n, *field.shape), generator=generator)
    return x if field.kind == "label" else x.to(field.dtype)
