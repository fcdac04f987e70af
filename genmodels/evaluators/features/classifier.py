"""A small convolutional classifier, trained once on the dataset's own labels, as a feature extractor.

Without labels it learns to recognise whether an image is mirrored, upside down, both or neither: a task as in Gidaris
et al. 2018 (https://arxiv.org/abs/1803.07728), but without rotations, which change the shape of images that are not
square. Distances in its features are comparable only for the same weights, whose hash is in the protocol of every
result. The weights are kept in the user's cache directory under a hash of everything that they depend on: the content
of the training split, the settings, and this architecture.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genmodels.disk.user_cache import cache_dir
from genmodels.evaluators.dataset import ImageDataset, picture_levels
from genmodels.evaluators.distributed import from_rank_zero
from genmodels.evaluators.features import cache
from genmodels.evaluators.features.base import Extracted, Features, weights_sha256
from genmodels.progress import tracked
from genmodels.ranges import NonNegativeInt, PositiveFloat, PositiveInt
from genmodels.seeds import seeded
from genmodels.units import to_pixels, to_unit

ProtocolFacts = dict[str, Any]
ORIENTATIONS = 4
ARCHITECTURE = 1  # raise it with every change of the network or its training


class Network(nn.Module):
    """Three 3x3 convolutions, the last two of stride 2, and two linear layers."""

    def __init__(self, *, shape: Sequence[int], width: int, dim: int, classes: int):
        super().__init__()
        c, h, w = shape
        self.trunk = nn.Sequential(
            *self.block(c, width, 1),
            *self.block(width, 2 * width, 2),
            *self.block(2 * width, 4 * width, 2),
            nn.Flatten(),
            nn.Linear(4 * width * ((h + 3) // 4) * ((w + 3) // 4), dim),
            nn.ReLU(),
        )
        self.head = nn.Linear(dim, classes)

    @staticmethod
    def block(c: int, d: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(c, d, 3, stride, 1, bias=False), nn.BatchNorm2d(d), nn.ReLU()]

    def forward(self, u: Float[Tensor, "b c h w"]) -> Extracted:
        """Features (b, dim) and logits (b, classes) of pictures in [-1, 1]."""
        f = self.trunk(u)
        return Extracted(f, self.head(f))


class Classifier(Features):
    """The last hidden layer, (b, dim), of a classifier of the dataset's labels, or of orientations without labels."""

    name = "classifier"
    resize = "none"

    def __init__(
        self,
        *,
        dim: PositiveInt,  # features
        width: PositiveInt,  # channels of the first convolution; the next have 2 and 4 times as many
        steps: PositiveInt,  # of Adam
        batch_size: PositiveInt,  # images a step
        lr: PositiveFloat,  # the highest of a one-cycle schedule
        seed: NonNegativeInt,  # of weights and batches, independent of the seed of the run
    ):
        self.dim = dim
        self.width = width
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.key = ""

    def check(self, data: ImageDataset) -> None:
        self.classes, self.tells_labels = number_of_labels(data), data.classes is not None

    @torch.inference_mode(False)
    def prepare(self, data: ImageDataset, device: torch.device) -> None:
        """Loads the weights for `data` from the cache, or trains them on rank 0 and stores them there."""
        if (key := self.key_of(data)) != self.key:
            weights, self.facts = from_rank_zero(lambda: self.load_or_train(data, key, device))
            self.check(data)
            self.sha256 = weights_sha256(weights)
            with torch.device("meta"):  # no weights are drawn
                self.network = self.build(data).eval()
            self.network.load_state_dict(weights, assign=True)
            self.network.requires_grad_(False)
            self.key = key
        self.network.to(device)

    def forward(self, pixels: UInt8[Tensor, "b c h w"]) -> Extracted:
        return self.network(to_unit(pixels, 256))

    def key_of(self, data: ImageDataset) -> str:
        """A hash of everything that the weights depend on."""
        facts = [data.fingerprint("train"), list(data.shape), data.levels, data.classes]
        settings = [self.dim, self.width, self.steps, self.batch_size, self.lr, self.seed]
        return sha256(json.dumps([ARCHITECTURE, *facts, *settings]).encode()).hexdigest()

    def build(self, data: ImageDataset) -> Network:
        return Network(shape=data.shape, width=self.width, dim=self.dim, classes=number_of_labels(data))

    def load_or_train(self, data: ImageDataset, key: str, device: torch.device) -> tuple[cache.Weights, ProtocolFacts]:
        path = cache_dir() / "features" / f"classifier-{key[:16]}.safetensors"
        if (found := cache.stored(path)) is None:
            found = self.train(data, path, device)
            cache.store(path, *found)
        return found

    def train(self, data: ImageDataset, path: Path, device: torch.device) -> tuple[cache.Weights, ProtocolFacts]:
        """Weights on the CPU and their accuracies, a function of the data and the settings alone."""
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"training the classifier of {data.name} for metrics over samples, once; it is kept as {path}")
        with seeded(self.seed), torch.autocast(device.type, enabled=False):
            network = self.build(data).to(device)
            self.fit(network, data, tracked(range(self.steps), "classifier"))
        accuracies = {split: accuracy(network.eval(), data, split) for split in ("train", "test")}
        weights = {name: w.detach().cpu() for name, w in network.state_dict().items()}
        task = "orientation" if data.classes is None else "labels"
        return weights, {"features_task": task, "features_accuracy": accuracies}

    @torch.enable_grad()
    def fit(self, network: Network, data: ImageDataset, steps: Iterable[int]) -> None:
        """Adam on the cross-entropy, under a one-cycle schedule; batches are drawn with replacement."""
        n, example = labelled_examples(data, "train")
        optimizer = torch.optim.Adam(network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        for _ in steps:
            x, y = example(torch.randint(n, (self.batch_size,)))
            logits = logits_of(network, x, data)
            optimizer.zero_grad()
            cross_entropy(logits, y.to(logits.device)).backward()
            optimizer.step()
            schedule.step()


def number_of_labels(data: ImageDataset) -> int:
    """The number of classes: labels of the data, or orientations."""
    return ORIENTATIONS if data.classes is None else data.classes


def labelled_examples(data: ImageDataset, split: str) -> tuple[int, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """The number of examples, and a function from numbers (b,) to images (b, c, h, w) in data units and labels (b,)."""
    x, condition = data.split(split)
    assert isinstance(x, Tensor)
    if data.classes is None:
        return ORIENTATIONS * len(x), lambda i: (turned(x[i % len(x)], i // len(x)), i // len(x))
    y = condition["label"]
    return len(x), lambda i: (x[i], y[i])


def turned(x: UInt8[Tensor, "b c h w"], y: Int[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
    """Images in orientation y: 0 unchanged, 1 mirrored, 2 upside down, 3 both."""
    mirrored, upside_down = ((y & bit).bool()[:, None, None, None] for bit in (1, 2))
    x = torch.where(mirrored, x.flip(-1), x)
    return torch.where(upside_down, x.flip(-2), x)


def logits_of(network: Network, x: Tensor, data: ImageDataset) -> Float[Tensor, "b k"]:
    """Logits of images x (b, c, h, w) in data units, on any device."""
    pixels = to_pixels(x.to(network.head.weight.device), picture_levels(data))
    return network(to_unit(pixels, 256)).logits


@torch.no_grad()
def accuracy(network: Network, data: ImageDataset, split: str) -> float | None:
    """Fraction of the split's examples whose label is the likeliest class; None for an empty split."""
    n, example = labelled_examples(data, split)
    right = 0
    for i in torch.arange(n).split(1000):
        x, y = example(i)
        right += int((logits_of(network, x, data).argmax(1).cpu() == y).sum())
    return right / n if n else None
