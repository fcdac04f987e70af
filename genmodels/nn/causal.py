"""What an autoregressive model asks of its network: logits of every entry of an image, given those before it.

The order is raster order over pixels and, within a pixel, channel after channel (red, green,
blue): logits[:, :, k, i, j] depend on x[:, :, :i, :], x[:, :, i, :j], x[:, :k, i, j] and on
nothing else. Values are on [-1, 1] (`genmodels.units.to_unit`).
"""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.capabilities import Labels


class Stepper(ABC):
    """Walks once over the entries of `n` images in causal order and remembers what it computed."""

    @abstractmethod
    def step(self, value: Float[Tensor, "n"] | None) -> Float[Tensor, "n levels"]:
        """Takes the entry before on [-1, 1] (None at the first) and gives the logits of the next one."""


class CausalNetwork(nn.Module, ABC):
    """Gives the logits of every entry at once, for training, and one by one, for sampling."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "b c h w"], y: Labels | None = None) -> Float[Tensor, "b levels c h w"]:
        """Logits of every entry given those before it and, where the network is conditional, the labels."""

    @abstractmethod
    def stepper(self, n: int, y: Labels | None = None) -> Stepper:
        """The same logits entry by entry, for `n` images; equal to `forward` in eval mode up to rounding."""
