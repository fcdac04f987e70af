"""Convolutions in true float32, without TF32 on a GPU or bf16 on a CPU, even where the process allows these."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_convolutions() -> Iterator[None]:
    """Sets torch's precision of float32 convolutions for the block, and restores it afterwards."""
    convolutions = (torch.backends.cudnn.conv, torch.backends.mkldnn.conv)  # type: ignore[attr-defined]
    before = [each.fp32_precision for each in convolutions]
    try:
        for each in convolutions:
            each.fp32_precision = "ieee"
        yield
    finally:
        for each, precision in zip(convolutions, before, strict=True):
            each.fp32_precision = precision
