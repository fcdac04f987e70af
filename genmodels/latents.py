"""Directions between codes, applied to samples (Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039, section 6.3).

With z_a and z_b the mean codes of samples with and without an attribute, x becomes
decode(encode(x) + alpha (z_a - z_b)).
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.capabilities import NO_CONDITION, Batch, Condition, Encodes
from genmodels.errors import UserError
from genmodels.trees import count, part

Code = Float[Tensor, "*latent"]
BATCH = 250  # samples that are encoded at a time


@torch.no_grad()
def mean_code(model: Encodes, x: Batch, condition: Condition = NO_CONDITION) -> Code:
    """The mean of the codes of `x`, samples in data units on the model's device, with their conditions.

    Raises:
        UserError: the codes are integers, such as the indices in a codebook, of which a mean says nothing.
    """
    sums = [code.double().sum(0) for code in codes(model, x, condition)]
    return (torch.stack(sums).sum(0) / count(x)).float()


def codes(model: Encodes, x: Batch, condition: Condition) -> Iterator[Float[Tensor, " b *latent"]]:
    """The codes of `x`, batch by batch."""
    for start in range(0, count(x), BATCH):
        of = slice(start, start + BATCH)
        code = model.encode(part(x, of), part(condition, of))
        if not code.is_floating_point():
            raise UserError(
                f"the codes of {type(model).__name__} are integers, expected real numbers, which have a mean; choose "
                "another model"
            )
        yield code


@torch.no_grad()
def moved(
    model: Encodes, x: Batch, direction: Code, alphas: Sequence[float], condition: Condition = NO_CONDITION
) -> list[Batch]:
    """For each alpha, `x` with alpha · direction added to its codes, in data units."""
    z = model.encode(x, condition)
    return [model.decode(z + alpha * direction.to(z), condition) for alpha in alphas]
