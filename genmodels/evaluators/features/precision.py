"""Convolutions in true float32, whatever the process allows elsewhere: neither TF32 on a GPU nor bf16 on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_convolutions() -> Iterator[None]:
    """Sets torch's precision of float32 convolutions for the block, and gives back what it was."""
    convolutions = (torch.backends.cudnn.conv, torch.backends.mkldnn.conv)  # type: ignore[attr-defined]
    before = [each.fp32_precision for each in convolutions]
    try:
        for each in convolutions:
            each.fp32_precision = "ieee"
        yield
    finally:
        for each, precision in zip(convolutions, before, strict=True):
            each.fp32_precision = precision
