"""Converts the published weights to those of the network: batch normalizations are folded into convolutions.

The moments of a normalization in eval mode are constants, so gamma (W * x - mean)/sqrt(var + eps) + beta
is a convolution with the weights s W and the bias beta - s mean, where s = gamma/sqrt(var + eps).
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from genmodels.errors import UserError
from genmodels.evaluators.features.inception_network import InceptionNetwork, Unit

EPS = 0.001  # of every normalization
MOMENTS = ("weight", "bias", "running_mean", "running_var")  # gamma, beta, mean, var
IGNORED = ".num_batches_tracked"  # counts of training batches


def units(network: InceptionNetwork) -> dict[str, Unit]:
    """The convolutions of the network by their published names."""
    return {name: module for name, module in network.trunk.named_modules() if isinstance(module, Unit)}


def layout(network: InceptionNetwork) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published weights, in the network's order."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, unit in units(network).items():
        shapes[f"{name}.conv.weight"] = tuple(unit.weight.shape)
        shapes |= {f"{name}.bn.{moment}": (unit.out_channels,) for moment in MOMENTS}
    out, features = network.fc.weight.shape
    return shapes | {"fc.weight": (out, features), "fc.bias": (out,)}


def checked_layout(weights: Any, network: InceptionNetwork, source: str) -> Mapping[str, Tensor]:
    """The weights, if they have the published layout; else a UserError that names the first difference."""
    expected = layout(network)
    if not isinstance(weights, Mapping):
        raise UserError(f"{source} holds a {type(weights).__name__}, expected the Inception network's weights by name")
    for name, shape in expected.items():
        if (found := _described(weights.get(name))) != (wanted := f"floats of shape {shape}"):
            raise UserError(
                f"{source} has {found} as {name}, expected {wanted}: give weights of FID's Inception network"
            )
    for name in weights:
        if name not in expected and not str(name).endswith(IGNORED):
            raise UserError(f"{source} has {name}, which FID's Inception network lacks: give weights of that network")
    return weights


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return "nothing" if value is None else f"a {type(value).__name__}"
    return f"{'floats' if value.is_floating_point() else value.dtype} of shape {tuple(value.shape)}"


def folded(weights: Mapping[str, Tensor], network: InceptionNetwork) -> dict[str, Tensor]:
    """The state of the network: computed in float64; float32 except `fc`, which is float64."""
    state = {"fc.weight": weights["fc.weight"].double()}
    for name in units(network):
        gamma, beta, mean, var = (weights[f"{name}.bn.{moment}"].double() for moment in MOMENTS)
        s = gamma / (var + EPS).sqrt()
        state[f"trunk.{name}.weight"] = (weights[f"{name}.conv.weight"].double() * s.view(-1, 1, 1, 1)).float()
        state[f"trunk.{name}.bias"] = (beta - s * mean).float()
    return state
