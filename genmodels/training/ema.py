"""Exponential moving average of a model's weights, with a warm-up.

theta_ema <- d theta_ema + (1 - d) theta  with  d = min(decay, (1 + k)/(10 + k)) at the k-th update: the
average forgets the initial weights however short the run is (the warm-up of TensorFlow's
ExponentialMovingAverage). Buffers, such as batch norm's running statistics, are copied.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn


class EMA(nn.Module):
    """A second model with averaged weights; it lies in the state_dict beside the raw one, and on its device."""

    updates: Tensor  # int64 (), how many there have been

    def __init__(self, model: nn.Module, *, decay: float):
        super().__init__()
        self.model = deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._count = 0  # `updates` as a Python number: reading the buffer would wait for the GPU

    def train(self, mode: bool = True) -> "EMA":
        """Stays in eval mode whatever the caller asks for: nothing trains here."""
        return super().train(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average towards the weights of `model`, after an optimizer step."""
        d = min(self.decay, (1 + self._count) / (10 + self._count))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - d)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        self._count += 1
        self.updates.fill_(self._count)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._count = int(self.updates)
