"""Inception features by features=inception, beside the network as published code runs it."""

import tempfile
from functools import partial
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.pair import Pair, Piece
from benchmarks.training import config_of
from genmodels.engine import build
from genmodels.evaluators.features.folding import EPS, layout, units
from genmodels.evaluators.features.inception import INPUT_SIZE, Inception, skeleton
from genmodels.evaluators.features.inception_network import InceptionNetwork, Unit
from genmodels.evaluators.features.resize import bilinear_of_tensorflow_1
from genmodels.seeds import seeded

PICTURES = 32


def inception(device: torch.device) -> Pair:
    """Features of small pictures."""
    x = torch.randint(256, (PICTURES, 3, 32, 32)).to(device, torch.uint8)
    return Pair(PICTURES, partial(plain_inception, x), partial(our_inception, x))


def our_inception(x: Tensor) -> Piece:
    file = Path(tempfile.mkdtemp()) / "weights.pth"
    torch.save(random_weights(), file)
    features = Inception(weights=str(file), sha256="any", dtype="float32", batch=PICTURES)
    features.prepare(build.instance(config_of()["data"]), x.device)
    file.unlink()
    return lambda: features(x)


def random_weights() -> dict[str, Tensor]:
    """Random weights in the published layout."""
    with seeded(0):
        drawn = {name: torch.randn(shape) * (2 / prod(shape[1:])) ** 0.5 for name, shape in layout(skeleton()).items()}
    return {name: torch.ones_like(w) if name.endswith("var") else w for name, w in drawn.items()}


class PlainUnit(nn.Module):
    """A convolution and its batch normalization, one after the other."""

    def __init__(self, unit: Unit):
        super().__init__()
        channels, geometry = (unit.in_channels, unit.out_channels), (unit.kernel_size, unit.stride, unit.padding)
        self.conv = nn.Conv2d(*channels, *geometry, bias=False)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm2d(unit.out_channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu_()


def plain_inception(x: Tensor) -> Piece:
    """Channels first, normalizations apart."""
    network = InceptionNetwork()
    for name, unit in units(network).items():
        network.trunk.set_submodule(name, PlainUnit(unit))
    weights = {name if name.startswith("fc.") else f"trunk.{name}": w for name, w in random_weights().items()}
    network.load_state_dict(weights, strict=False)  # fc.bias is left out
    network.fc.double()
    network.eval().to(x.device)

    @torch.no_grad()
    def work() -> None:
        network((bilinear_of_tensorflow_1(x.float(), INPUT_SIZE) - 128) / 128)

    return work
