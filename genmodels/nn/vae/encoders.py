"""What an encoder of a VAE is."""

from torch import nn


class Encoder(nn.Module):
    """Images (b, c, h, w) on [-1, 1], and a context, to the posterior's numbers, (b, n) or maps of as many entries."""

    shape: tuple[int, int, int]  # (c, h, w) of an image
    latent_shape: tuple[int, ...]  # of a code: (d,), or (c, h, w) where it is laid out in space
