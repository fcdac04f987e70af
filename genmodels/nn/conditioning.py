"""How labels enter a network that maps vectors: as a one-hot code beside the input."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from genmodels.capabilities import Labels


def join_labels(h: Float[Tensor, "b d"], y: Labels | None, classes: int | None) -> Float[Tensor, "b d_plus_classes"]:
    """(b, d) to (b, d + classes); the input itself where there are no classes."""
    if classes is None:
        return h
    assert y is not None
    return torch.cat([h, one_hot(y.long(), classes).to(h.dtype)], dim=1)
