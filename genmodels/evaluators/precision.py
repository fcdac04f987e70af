"""What a model computes in while it is measured or sampled, by the names that the trainer has for it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import nn

from genmodels.errors import UserError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager:
    """For a block of a model's calls; "32-true" leaves what is around it as it is."""
    if precision == "32-true":
        return nullcontext()
    if precision == "16-mixed" and device.type == "cpu":
        raise UserError("precision=16-mixed is for GPUs, and the device is the CPU; use precision=bf16-mixed")
    return torch.autocast(device.type, DTYPES[precision])


def dtype_of(model: nn.Module, device: torch.device) -> str:
    """What the model computes in: its autocast type, or its parameters'."""
    if torch.is_autocast_enabled(device.type):
        return str(torch.get_autocast_dtype(device.type)).removeprefix("torch.")
    parameter = next(model.parameters(), torch.empty(()))
    return str(parameter.dtype).removeprefix("torch.")
