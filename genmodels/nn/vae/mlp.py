"""Fully connected encoder and decoder (Kingma & Welling 2014, https://arxiv.org/abs/1312.6114, appendix C), with the
initial weights of Glorot & Bengio (2010, https://proceedings.mlr.press/v9/glorot10a.html), as in Burda et al. 2016."""

from collections.abc import Sequence
from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from genmodels.context import Context, Sizes
from genmodels.context import widths as context_widths
from genmodels.fields import image_shape
from genmodels.nn.layers.mlp import Activation, glorot, mlp
from genmodels.nn.vae.encoders import Encoder
from genmodels.parts.conditioners import join
from genmodels.parts.likelihoods import PixelLikelihood
from genmodels.parts.posteriors import Posterior
from genmodels.ranges import PositiveInt


class MLPEncoder(Encoder):
    """Images (b, c, h, w) on [-1, 1] and a context to the posterior's numbers, (b, n); linear without hidden layers."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d
        widths: Sequence[PositiveInt],  # of the hidden layers, from the image to the code
        activation: Activation,  # between layers
        posterior: Posterior,  # says how many numbers it needs
        context: Sizes,
    ):
        super().__init__()
        self.shape = image_shape(shape, "the fully connected encoder")
        self.latent_shape = (latent_dim,)
        vector = context_widths(context, ("vector",), "the fully connected encoder")["vector"]
        self.layers = glorot(mlp([prod(shape) + vector, *widths, posterior.numbers(latent_dim)], activation))

    def forward(self, x: Float[Tensor, "b c h w"], context: Context) -> Float[Tensor, "b n"]:
        return self.layers(join((x.flatten(1) + 1) / 2, context))  # on [0, 1]: mostly 0


class MLPDecoder(nn.Module):
    """Codes (b, d) and a context to the likelihood's parameters (b, kc, h, w); linear without hidden layers."""

    def __init__(
        self,
        *,
        shape: Sequence[PositiveInt],  # (c, h, w) of an image
        latent_dim: PositiveInt,  # d
        widths: Sequence[PositiveInt],  # of the hidden layers, from the code to the image
        activation: Activation,  # between layers
        likelihood: PixelLikelihood,  # says how many parameters an entry needs
        context: Sizes,
    ):
        super().__init__()
        c, h, w = image_shape(shape, "the fully connected decoder")
        vector = context_widths(context, ("vector",), "the fully connected decoder")["vector"]
        self.shape = (likelihood.n_params * c, h, w)
        self.layers = glorot(mlp([latent_dim + vector, *widths, prod(self.shape)], activation))

    def forward(self, z: Float[Tensor, "b d"], context: Context) -> Float[Tensor, "b kc h w"]:
        return self.layers(join(z, context)).unflatten(1, self.shape)
