"""Couplings (Dinh, Krueger & Bengio 2015, https://arxiv.org/abs/1410.8516; Dinh, Sohl-Dickstein & Bengio 2017,
https://arxiv.org/abs/1605.08803, sections 3.2 to 3.4)."""

from collections.abc import Sequence

import torch
from torch import nn

from genmodels.capabilities import PerSample
from genmodels.context import NO_CONTEXT, Context
from genmodels.nn.flows.bijections import Bijection, Reals
from genmodels.nn.flows.elementwise import Elementwise, Parameters
from genmodels.nn.flows.partitions import Partition
from genmodels.ranges import PositiveInt


class Coupling(Bijection):
    """Keeps one part of a sample, and changes each number of the other by g, whose parameters are a function of what is
    kept (2017, equation 9, with any g); ladj is the sum of log g'."""

    def __init__(
        self,
        *,
        partition: Partition,
        net: nn.Module,  # what is kept, context -> (b, n_params · c, ...) for c channels that are changed
        transform: Elementwise,  # g
    ):
        super().__init__()
        self.partition, self.transform, self.net = partition, transform, net

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        z, log_slope = self.transform(self.partition.changed(x), self.theta(x, context))
        return self.partition.joined(x, z), self.partition.total(log_slope)

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        x = self.transform.inverse(self.partition.changed(z), self.theta(z, context))
        return self.partition.joined(z, x)

    def theta(self, x: Reals, context: Context) -> Parameters:
        """The parameters of g, functions of what is kept alone, in the precision of x."""
        return self.net(self.partition.kept(x), context).to(x.dtype).unflatten(1, (self.transform.n_params, -1))


class ChannelAffine(Bijection):
    """z = x ⊙ exp(log_scale) + shift, learned for each channel; initially the identity.

    It replaces the batch normalization of RealNVP (section 3.7). With batch statistics the trained model is not a
    density of single samples: a sample's likelihood would depend on the rest of its batch and would differ
    between training and evaluation. Here it is exact for every sample.
    """

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # of a sample: (c, h, w) or (d,)
    ):
        super().__init__()
        parameters = (shape[0], *[1] * (len(shape) - 1))
        self.log_scale = nn.Parameter(torch.zeros(parameters))
        self.shift = nn.Parameter(torch.zeros(parameters))

    def forward(self, x: Reals, context: Context = NO_CONTEXT) -> tuple[Reals, PerSample]:
        return x * self.log_scale.exp() + self.shift, self.log_scale.expand_as(x).flatten(1).sum(1)

    def inverse(self, z: Reals, context: Context = NO_CONTEXT) -> Reals:
        return (z - self.shift) * (-self.log_scale).exp()
