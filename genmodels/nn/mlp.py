"""Fully connected encoder and decoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114, appendix C), with the
initial weights of Glorot & Bengio (2010, https://proceedings.mlr.press/v9/glorot10a.html), as Burda et al. (2016)."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes, widths
from genmodels.fields import image_shape
from genmodels.nn.encoders import Encoder
from genmodels.nn.likelihoods import PixelLikelihood
from genmodels.parts.conditioners import join
from genmodels.parts.posteriors import Posterior
from genmodels.ranges import PositiveInt

Activation = Literal["tanh", "relu", "silu", "gelu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


class MLPEncoder(Encoder):
    """Images (b, c, h, w) on [-1, 1], and a context, to the posterior's numbers, (b, n); no hidden layers: linear."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d
        hidden: Sequence[PositiveInt],  # widths of the hidden layers, from the image to the code
        activation: Activation,  # between layers
        posterior: Posterior,  # says how many numbers it needs
        context: Sizes,
    ):
        super().__init__()
        self.shape = image_shape(shape, "the fully connected encoder")
        self.latent_shape = (latent_dim,)
        told = widths(context, ("vector",), "the fully connected encoder")["vector"]
        self.layers = glorot(mlp([prod(shape) + told, *hidden, posterior.numbers(latent_dim)], activation))

    def forward(self, x: Float[Tensor, "b c h w"], context: Context) -> Float[Tensor, "b n"]:
        return self.layers(join((x.flatten(1) + 1) / 2, context))  # on [0, 1]: mostly 0


class MLPDecoder(nn.Module):
    """Codes (b, d), and a context, to the likelihood's parameters (b, kc, h, w); no hidden layers: linear."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d
        hidden: Sequence[PositiveInt],  # widths of the hidden layers, from the code to the image
        activation: Activation,  # between layers
        likelihood: PixelLikelihood,  # says how many parameters an entry needs
        context: Sizes,
    ):
        super().__init__()
        c, h, w = image_shape(shape, "the fully connected decoder")
        told = widths(context, ("vector",), "the fully connected decoder")["vector"]
        self.shape = (likelihood.n_params * c, h, w)
        self.layers = glorot(mlp([latent_dim + told, *hidden, prod(self.shape)], activation))

    def forward(self, z: Float[Tensor, "b d"], context: Context) -> Float[Tensor, "b kc h w"]:
        return self.layers(join(z, context)).unflatten(1, self.shape)


def mlp(widths: Sequence[int], activation: Activation) -> nn.Sequential:
    """Linear layers of these widths with activations between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def glorot(layers: nn.Sequential) -> nn.Sequential:
    """The same layers with weights from U(-a, a), a = sqrt(6 / (n_in + n_out)), and biases of zero."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return layers
