"""python scripts/benchmark.py: how fast the parts are, as ratios to the plainest code that does the same.

Each pair is timed in turn, several times, and the median of the ratios is printed: it holds when the machine's speed
drifts, but nothing else should run beside it.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from genmodels.cli import build
from genmodels.cli.compose import compose_config, resolved
from genmodels.data.loader import Loader
from genmodels.seeds import seeded

STEPS, ROUNDS, BATCH = 150, 5, 128


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
    split = type(data.training_split())(torch.zeros(60_000, 1, 28, 28, dtype=torch.uint8), None)
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
    """The same by indexing a tensor."""
    x = torch.zeros(60_000, 1, 28, 28, dtype=torch.uint8)

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
    return lambda: model.sample(16)


def naive_sampling() -> Callable[[], object]:
    """The same with a full pass for each pixel."""
    model = pixelcnn()

    @torch.no_grad()
    def work() -> None:
        x = torch.zeros(16, *model.shape)
        for _ in range(x[0].numel()):
            model.network(x)

    return work


PAIRS = {
    f"VAE training, {STEPS} steps of {BATCH}: plain loop / ours": (plain_training, ours_of_training),
    "loading an epoch of 60,000 28x28 images: tensor[index] / ours": (plain_loading, ours_of_loading),
    "sampling 16 8x8 images from a PixelCNN: pass a pixel / ours": (naive_sampling, cached_sampling),
}


def main() -> None:
    warnings.filterwarnings("ignore")
    table = Table(
        "work", "seconds, plain", "seconds, ours", "speed of ours", title=f"{torch.get_num_threads()} threads"
    )
    for name, makers in track(PAIRS.items(), "timing", transient=True):
        plain, ours = (make() for make in makers)
        plain(), ours()
        times = [(seconds(plain), seconds(ours)) for _ in range(ROUNDS)]
        ratio = statistics.median(a / b for a, b in times)
        a, b = (statistics.median(each) for each in zip(*times, strict=True))
        table.add_row(name, f"{a:.3f}", f"{b:.3f}", f"{ratio:.2f} x")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
