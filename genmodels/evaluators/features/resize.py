"""TensorFlow 1's bilinear resize (`resize_bilinear`, align_corners=False), as for the input of FID's network.

Output pixel i of m is at i * n/m of an input of n pixels: corners are not aligned, centres are not shifted by a
half, unlike bilinear resizing in torch and PIL, and shrinking does not average.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def bilinear_of_tensorflow_1(x: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c {size} {size}"]:
    """Pictures of any size to size x size."""
    return _along(_along(x, 3, size), 2, size)


def _along(x: Tensor, dim: int, m: int) -> Tensor:
    """Linear interpolation along one of the last two dimensions, to m pixels."""
    n = x.shape[dim]
    at = torch.arange(m, device=x.device) * torch.tensor(n / m, device=x.device)  # (m,) float32, as TensorFlow has it
    low = at.long()
    high = (low + 1).clamp(max=n - 1)
    a, b = x.index_select(dim, low), x.index_select(dim, high)
    t = (at - low).view([-1, 1] if dim == 2 else [-1])
    return a + (b - a) * t
