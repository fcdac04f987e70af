"""Fully connected networks, with the initial weights of Glorot & Bengio (2010, https://proceedings.mlr.press/v9/glorot10a.html)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

Activation = Literal["tanh", "sigmoid", "relu", "silu", "gelu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


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
