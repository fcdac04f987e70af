"""Activation normalization (Kingma & Dhariwal 2018, https://arxiv.org/abs/1807.03039, section 3.1)."""

from contextlib import AbstractContextManager

import torch
from torch import nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Reals, flagged
from genmodels.nn.flows.coupling import ChannelAffine

SMALLEST = 1e-6  # least standard deviation of a channel: a constant channel is not divided by 0


class ActNorm(ChannelAffine):
    """A scale and a shift for each channel, set so that in the first batch every channel has mean 0 and std 1.

    Before that, the layer is the identity; after it, both are weights like any other.
    """

    initialising = False  # whether the next input sets the weights

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        if self.initialising:
            self.normalise(x)
        return super().forward(x, context)

    @torch.no_grad()
    def normalise(self, x: Reals) -> None:
        """Sets scale and shift from the mean and std of each channel of `x` over the batch and all places."""
        std, mean = torch.std_mean(x.transpose(0, 1).flatten(1).double(), dim=1, correction=0)
        std = std.clamp(min=SMALLEST)
        self.log_scale.copy_(-std.log().view_as(self.log_scale))
        self.shift.copy_((-mean / std).view_as(self.shift))


def initialising(model: nn.Module) -> AbstractContextManager[None]:
    """Within the block every ActNorm of `model` sets its weights from its input; one pass sets them all."""
    return flagged(model, ActNorm, "initialising")
