"""The only conversions between units: data values, the interval [-1, 1], pictures, nats and bits.

Data with `levels` values per entry are integers 0..levels-1, in the smallest type that holds them. Networks see them
on [-1, 1], where neighbouring values lie 2/(levels - 1) apart.
"""

from math import log
from typing import TypeVar

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

from genmodels.fields import smallest_dtype

Nats = TypeVar("Nats", float, Tensor)


def to_unit(x: Integer[Tensor, "*shape"], levels: int) -> Float[Tensor, "*shape"]:
    """Data values 0..levels-1 to float32 in [-1, 1]: 2x/(levels - 1) - 1."""
    return x.float() * (2 / (levels - 1)) - 1


def quantize(u: Float[Tensor, "*shape"], levels: int) -> Integer[Tensor, "*shape"]:
    """The nearest data value of each number on [-1, 1]; values outside are clamped."""
    return ((u.float() + 1) * ((levels - 1) / 2)).round().clamp(0, levels - 1).to(smallest_dtype(levels))


def to_pixels(x: Integer[Tensor, "*shape"], levels: int) -> UInt8[Tensor, "*shape"]:
    """Data values 0..levels-1 to pixel values 0..255; the identity where levels is 256."""
    return (x.float() * (255 / (levels - 1))).round().to(torch.uint8)


def from_pixels(x: UInt8[Tensor, "*shape"], levels: int) -> Integer[Tensor, "*shape"]:
    """Pixel values 0..255 to the nearest data values 0..levels-1; inverts `to_pixels` where levels is at most 256."""
    return (x.float() * ((levels - 1) / 255)).round().to(smallest_dtype(levels))


def bits_per_dim(nats: Nats, dims: int) -> Nats:
    """Nats per sample to bits per dimension: nats/(dims ln 2)."""
    return nats / (dims * log(2))
