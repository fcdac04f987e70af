"""Numerical precision of a model while it is evaluated or sampled, with the names of the trainer."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from genmodels.errors import UserError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager:
    """A context for calls of a model; "32-true" changes nothing."""
    if precision == "32-true":
        return nullcontext()
    if precision == "16-mixed" and device.type == "cpu":
        raise UserError("precision=16-mixed is for GPUs, and the device is the CPU; use precision=bf16-mixed")
    return torch.autocast(device.type, DTYPES[precision])


def dtype_of(model: nn.Module, device: torch.device) -> str:
    """The type in which the model computes: that of autocast, or of its parameters."""
    if torch.is_autocast_enabled(device.type):
        return str(torch.get_autocast_dtype(device.type)).removeprefix("torch.")
    parameter = next(model.parameters(), torch.empty(()))
    return str(parameter.dtype).removeprefix("torch.")
