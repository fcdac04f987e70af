"""The base class of a VAE's encoders."""

from torch import nn


class Encoder(nn.Module):
    """Images (b, c, h, w) on [-1, 1] and a context to the posterior's numbers, (b, n), or maps with n entries."""

    shape: tuple[int, int, int]  # (c, h, w) of an image
    latent_shape: tuple[int, ...]  # of a code: (d,), or (c, h, w) for a map
