"""The fully connected network inside a coupling of points, or of flattened samples."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import NO_CONTEXT, Context, Sizes
from genmodels.context import widths as context_widths
from genmodels.nn.layers.mlp import Activation, mlp
from genmodels.nn.layers.zeroed import zeroed
from genmodels.parts.conditioners import join


class CouplingMLP(nn.Module):
    """(b, n_in) and a context to (b, n_out), 0 at first; a context's vector is further inputs."""

    def __init__(
        self,
        *,
        n_in: int,  # entries that are kept
        n_out: int,  # parameters of all entries that are changed
        widths: Sequence[int],  # of the hidden layers
        activation: Activation,
        context: Sizes,  # a vector, or {}: none
    ):
        super().__init__()
        vector = context_widths(context, ("vector",), "the network of a coupling")["vector"]
        self.layers = mlp([n_in + vector, *widths, n_out], activation)
        zeroed(self.layers[-1])

    def forward(self, x: Float[Tensor, "b n_in"], context: Context = NO_CONTEXT) -> Float[Tensor, "b n_out"]:
        return self.layers(join(x, context))
