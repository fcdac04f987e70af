"""Autoregressive models: p(x) = Π_i p(x_i | x_1, ..., x_{i-1}) over pixels and channels.

Source: PixelRNN (van den Oord et al. 2016, https://arxiv.org/abs/1601.06759), equations 1 and 2,
with a categorical distribution over the data's levels for each factor.
"""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor, nn

from genmodels.capabilities import Bound, HasLikelihood, HasLoss, Labels, PerSample, Samples, Terms
from genmodels.nn.causal import CausalNetwork
from genmodels.nn.labels import labels_to_sample, labels_to_score
from genmodels.seeds import GLOBAL, Random
from genmodels.units import to_unit

Images = UInt8[Tensor, "b c h w"]


class Autoregressive(nn.Module, HasLoss, Samples, HasLikelihood):
    """log p(x) = Σ_i log softmax(logits_i)[x_i], the logits from a causal network."""

    bound: Bound = "exact"
    origin: Tensor

    def __init__(
        self,
        *,
        shape: Sequence[int],  # (c, h, w) of an image
        levels: int,  # values that an entry can take
        conditional: bool,  # whether p(x|y) is modelled
        classes: int | None,  # number of labels y, where conditional
        network: CausalNetwork,
    ):
        super().__init__()
        assert conditional == (classes is not None)
        self.shape = tuple(shape)
        self.levels = levels
        self.classes = classes
        self.network = network
        self.register_buffer("origin", torch.zeros(()), persistent=False)  # knows the device

    def loss(self, x: Images, y: Labels | None = None) -> Terms:
        """-log p(x) in nats per sample."""
        return {"loss": self.nats(x, y)}

    @torch.no_grad()
    def log_prob(self, x: Images, y: Labels | None = None) -> PerSample:
        return -self.nats(x, y)

    def nats(self, x: Images, y: Labels | None) -> PerSample:
        """-log p(x), or -log p(x|y), with gradients."""
        y = labels_to_score(y, self.classes)
        logits = self.network(to_unit(x, self.levels), y).float()  # (b, levels, c, h, w)
        return F.cross_entropy(logits, x.long(), reduction="none").flatten(1).sum(1)

    @torch.no_grad()
    def sample(self, n: int, y: Labels | None = None, rng: Random = GLOBAL) -> Images:
        """`n` images from p(x) or p(x|y), entry by entry, at about the cost of one pass; without dropout.

        Draws one exponential for each level of each entry, in the network's order.
        """
        stepper = self.network.stepper(n, labels_to_sample(n, y, self.classes, self.origin.device, rng))
        c, h, w = self.shape
        x = torch.zeros(n, c, h, w, dtype=torch.uint8, device=self.origin.device)
        value = None
        for i, j, k in product(range(h), range(w), range(c)):
            x[:, k, i, j] = rng.categorical(stepper.step(value).float())
            value = to_unit(x[:, k, i, j], self.levels)
        return x
