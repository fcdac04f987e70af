"""Which class labels a model uses."""

import torch
from jaxtyping import Int
from torch import Tensor

from genmodels.capabilities import Labels
from genmodels.errors import UserError
from genmodels.seeds import Random


def labels_to_score(y: Labels | None, classes: int | None) -> Labels | None:
    """Labels for a loss or likelihood: none where the model is unconditional, else those given."""
    if classes is None:
        return None
    if y is None:
        raise UserError(f"this model is conditional on {classes} classes and got no labels; give y of shape (b,)")
    return y


def labels_to_sample(
    n: int, y: Labels | None, classes: int | None, device: torch.device, rng: Random
) -> Int[Tensor, "n"] | None:
    """Labels of `n` samples: none where the model is unconditional, else those given, else uniform draws."""
    if classes is None:
        return None
    return rng.integers(classes, n, device) if y is None else y.to(device)
