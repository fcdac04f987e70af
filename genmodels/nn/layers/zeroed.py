"""Last layers that are 0 at first, so that what they are added to begins as the identity."""

from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def zeroed(layer: Layer) -> Layer:
    """The layer with weights and bias of 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
