"""Pieces of work as genmodels does them, beside the plainest code that does the same, to be timed.

Each function makes a piece of work and gives what is to be timed of it.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from genmodels.config.compose import compose_config, resolved
from genmodels.context import NO_CONTEXT
from genmodels.data.loader import Loader
from genmodels.engine import build
from genmodels.evaluators.features.folding import EPS, layout, units
from genmodels.evaluators.features.inception import INPUT_SIZE, Inception, skeleton
from genmodels.evaluators.features.inception_network import InceptionNetwork, Unit
from genmodels.evaluators.features.resize import bilinear_of_tensorflow_1
from genmodels.models.autoregressive import Autoregressive
from genmodels.seeds import seeded

STEPS, BATCH, LOADED, DRAWN, PICTURES = 150, 128, 60_000, 16, 32
MNIST_SHAPE = (1, 28, 28)

Work = Callable[[], object]


def config_of(*overrides: str) -> dict:
    """A training without evaluation, pictures and loggers."""
    quiet = ["trainer=cpu", "callbacks=none", "logger=none", "evaluator=[]", "name=benchmark", "ema.decay=0"]
    folder = Path(tempfile.mkdtemp())
    return resolved(compose_config("train", [*quiet, f"run_dir={folder}", f"trainer.max_steps={STEPS}", *overrides]))


def ours_of_training() -> Work:
    """Trains the VAE on the digits with everything that a run has but evaluation."""
    config = config_of("model=vae")
    data = build.instance(config["data"])

    def work() -> None:
        trainer = build.trainer(config, {})
        trainer.fit(build.training(config, build.model(config, fresh=True), data, trainer))

    return work


def plain_training() -> Work:
    """The same steps in a loop written by hand."""
    config = config_of("model=vae")
    x = build.instance(config["data"]).training_split().x

    def work() -> None:
        model = build.instance(config["model"])
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(STEPS):
            loss = model.loss(x[torch.randint(len(x), (BATCH,))])["loss"].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return work


def ours_of_loading() -> Work:
    """An epoch of MNIST-sized batches from the loader."""
    data = build.instance(config_of()["data"])
    split = type(data.training_split())(torch.zeros(LOADED, *MNIST_SHAPE, dtype=torch.uint8), {})
    loader = Loader(
        split=split,
        visit=lambda x, condition, generator: (x, condition),
        batch_size=BATCH,
        batches_per_step=1,
        seed=0,
        rank=0,
        world_size=1,
        device=torch.device("cpu"),
    )
    return lambda: [len(x) for x, _ in loader]


def plain_loading() -> Work:
    """The same images by x[index], without seeds, devices, labels and positions."""
    x = torch.zeros(LOADED, *MNIST_SHAPE, dtype=torch.uint8)

    def work() -> None:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            x[order[start : start + BATCH]]

    return work


def pixelcnn() -> Autoregressive:
    config = config_of("model=pixelcnn", "model.network.width=16")
    with seeded(0):
        return build.instance(config["model"]).eval()


def cached_sampling() -> Work:
    """16 digits from a PixelCNN, with the cache."""
    model = pixelcnn()
    return lambda: model.sample(DRAWN)


def naive_sampling() -> Work:
    """The same with a full pass for each pixel."""
    model = pixelcnn()

    @torch.no_grad()
    def work() -> None:
        x = torch.zeros(DRAWN, *model.space.code.shape, dtype=torch.uint8)
        for _ in range(x[0].numel()):
            model.network(x, NO_CONTEXT)

    return work


class PlainUnit(nn.Module):
    """A convolution and its batch normalization, one after the other."""

    def __init__(self, unit: Unit):
        super().__init__()
        channels, geometry = (unit.in_channels, unit.out_channels), (unit.kernel_size, unit.stride, unit.padding)
        self.conv = nn.Conv2d(*channels, *geometry, bias=False)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm2d(unit.out_channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu_()


def pictures() -> Tensor:
    return torch.randint(256, (PICTURES, 3, 32, 32)).to(torch.uint8)


def inception_weights() -> dict[str, Tensor]:
    """Random weights in the published layout."""
    with seeded(0):
        drawn = {name: torch.randn(shape) * (2 / prod(shape[1:])) ** 0.5 for name, shape in layout(skeleton()).items()}
    return {name: torch.ones_like(w) if name.endswith("var") else w for name, w in drawn.items()}


def our_inception() -> Work:
    """Features of small pictures by features=inception."""
    file = Path(tempfile.mkdtemp()) / "weights.pth"
    torch.save(inception_weights(), file)
    features = Inception(weights=str(file), sha256="any", dtype="float32", batch=PICTURES)
    features.prepare(build.instance(config_of()["data"]), torch.device("cpu"))
    file.unlink()
    x = pictures()
    return lambda: features(x)


def plain_inception() -> Work:
    """The same by the network as published code runs it: channels first, normalizations apart."""
    network = InceptionNetwork()
    for name, unit in units(network).items():
        network.trunk.set_submodule(name, PlainUnit(unit))
    weights = {name if name.startswith("fc.") else f"trunk.{name}": w for name, w in inception_weights().items()}
    network.load_state_dict(weights, strict=False)  # fc.bias is left out
    network.fc.double()
    x = pictures()

    @torch.no_grad()
    def work() -> None:
        network.eval()((bilinear_of_tensorflow_1(x.float(), INPUT_SIZE) - 128) / 128)

    return work


@dataclass(frozen=True)
class Pair:
    """Two ways to do the same."""

    images: int  # that each takes or makes
    plain: Callable[[], Work]
    ours: Callable[[], Work]


PAIRS = {
    "training": Pair(STEPS * BATCH, plain_training, ours_of_training),
    "loading": Pair(LOADED, plain_loading, ours_of_loading),
    "sampling": Pair(DRAWN, naive_sampling, cached_sampling),
    "inception": Pair(PICTURES, plain_inception, our_inception),
}
