"""python scripts/benchmark.py [WORD ...]: how fast the parts are, as ratios to the plainest code that does the same.

Each pair is timed in turn, several times, and the median of the ratios is printed: it holds when the machine's speed
drifts, but nothing else should run beside it.
"""

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from math import prod
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from genmodels.cli import build
from genmodels.cli.config.compose import compose_config, resolved
from genmodels.data.loader import Loader
from genmodels.evaluators.features.folding import EPS, layout, units
from genmodels.evaluators.features.inception import SIZE, Inception, skeleton
from genmodels.evaluators.features.inception_network import InceptionNetwork, Unit
from genmodels.evaluators.features.resize import bilinear_of_tensorflow_1
from genmodels.seeds import seeded

STEPS, ROUNDS, BATCH, LOADED, DRAWN, PICTURES = 150, 5, 128, 60_000, 16, 32


def config_of(*overrides: str) -> dict:
    """A training without evaluation, pictures and loggers."""
    quiet = ["trainer=cpu", "callbacks=none", "logger=none", "evaluator=[]", "name=benchmark", "ema.decay=0"]
    folder = Path(tempfile.mkdtemp())
    return resolved(compose_config("train", [*quiet, f"run_dir={folder}", f"trainer.max_steps={STEPS}", *overrides]))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ours_of_training() -> Callable[[], object]:
    """Trains the VAE on the digits with everything that a run has but evaluation."""
    config = config_of("model=vae")
    data = build.part(config["data"])

    def work() -> None:
        trainer = build.trainer(config, {})
        trainer.fit(build.training(config, data, trainer))

    return work


def plain_training() -> Callable[[], object]:
    """The same steps in a loop written by hand."""
    config = config_of("model=vae")
    x = build.part(config["data"]).training_split().x

    def work() -> None:
        model = build.part(config["model"])
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(STEPS):
            loss = model.loss(x[torch.randint(len(x), (BATCH,))])["loss"].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return work


def ours_of_loading() -> Callable[[], object]:
    """An epoch of MNIST-sized batches from the loader."""
    data = build.part(config_of()["data"])
    split = type(data.training_split())(torch.zeros(LOADED, 1, 28, 28, dtype=torch.uint8), None)
    loader = Loader(
        split=split,
        transform=lambda x, generator: x,
        batch_size=BATCH,
        batches_per_step=1,
        seed=0,
        rank=0,
        world_size=1,
        device=torch.device("cpu"),
    )
    return lambda: [len(x) for x, _ in loader]


def plain_loading() -> Callable[[], object]:
    """The same images by x[index], without seeds, devices, labels and positions."""
    x = torch.zeros(LOADED, 1, 28, 28, dtype=torch.uint8)

    def work() -> None:
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            x[order[start : start + BATCH]]

    return work


def pixelcnn() -> torch.nn.Module:
    config = config_of("model=pixelcnn", "model.network.width=16")
    with seeded(0):
        return build.part(config["model"]).eval()


def cached_sampling() -> Callable[[], object]:
    """16 digits from a PixelCNN, with the cache."""
    model = pixelcnn()
    return lambda: model.sample(DRAWN)


def naive_sampling() -> Callable[[], object]:
    """The same with a full pass for each pixel."""
    model = pixelcnn()

    @torch.no_grad()
    def work() -> None:
        x = torch.zeros(DRAWN, *model.shape)
        for _ in range(x[0].numel()):
            model.network(x)

    return work


class PlainUnit(nn.Module):
    """A convolution and its batch normalization, one after the other."""

    def __init__(self, unit: Unit):
        super().__init__()
        self.conv = nn.Conv2d(
            unit.in_channels, unit.out_channels, unit.kernel_size, unit.stride, unit.padding, bias=False
        )
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


def our_inception() -> Callable[[], object]:
    """Features of small pictures by features=inception."""
    file = Path(tempfile.mkdtemp()) / "weights.pth"
    torch.save(inception_weights(), file)
    features = Inception(weights=str(file), sha256="any", dtype="float32", batch=PICTURES)
    features.prepare(build.part(config_of()["data"]), torch.device("cpu"))
    file.unlink()
    x = pictures()
    return lambda: features(x)


def plain_inception() -> Callable[[], object]:
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
        network.eval()((bilinear_of_tensorflow_1(x.float(), SIZE) - 128) / 128)

    return work


PAIRS = {  # what, how many images, plain, ours
    f"VAE training, {STEPS} steps of {BATCH}: plain loop / ours": (STEPS * BATCH, plain_training, ours_of_training),
    "loading an epoch of 28x28 images: indexing a tensor / ours": (LOADED, plain_loading, ours_of_loading),
    "sampling 8x8 images from a PixelCNN: pass a pixel / ours": (DRAWN, naive_sampling, cached_sampling),
    "Inception features of 32x32 images: published code's / ours": (PICTURES, plain_inception, our_inception),
}


def main() -> None:
    """Times the pairs whose names contain one of the words on the command line; without words all."""
    warnings.filterwarnings("ignore")
    words = sys.argv[1:] or [""]
    pairs = {name: pair for name, pair in PAIRS.items() if any(word in name for word in words)}
    threads = torch.get_num_threads()
    table = Table("work", "images/s, plain", "images/s, ours", "speed of ours", title=f"{threads} threads")
    for name, (images, *makers) in track(pairs.items(), "timing", transient=True):
        plain, ours = (make() for make in makers)
        plain(), ours()
        times = [(seconds(plain), seconds(ours)) for _ in range(ROUNDS)]
        ratio = statistics.median(a / b for a, b in times)
        a, b = (images / statistics.median(each) for each in zip(*times, strict=True))
        table.add_row(name, f"{a:,.1f}", f"{b:,.1f}", f"{ratio:.2f} x")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
