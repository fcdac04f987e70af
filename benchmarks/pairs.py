"""Pieces of work as genmodels does them, beside the plainest code that does the same, to be timed.

Each function makes a piece of work and gives what is to be timed of it.
"""

import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from io import StringIO
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genmodels.capabilities import Player
from genmodels.config.checked import training_config
from genmodels.config.from_python import composed
from genmodels.context import NO_CONTEXT
from genmodels.data.base import Data
from genmodels.data.loader import Loader
from genmodels.data.noise import NoiseData
from genmodels.engine import build
from genmodels.evaluators.features.folding import EPS, layout, units
from genmodels.evaluators.features.inception import INPUT_SIZE, Inception, skeleton
from genmodels.evaluators.features.inception_network import InceptionNetwork, Unit
from genmodels.evaluators.features.resize import bilinear_of_tensorflow_1
from genmodels.fields import Field
from genmodels.models.autoregressive import Autoregressive
from genmodels.models.diffusion import Diffusion
from genmodels.seeds import seeded
from genmodels.training.game import players_of

BATCH, LOADED, DRAWN, PICTURES, NOISE_STEPS = 128, 60_000, 16, 32, 20
MNIST_SHAPE = (1, 28, 28)
# seconds of training each, beside which the fraction of a second counts little in which a training starts and ends
STEPS = {"vae_mlp": 600, "vae": 60, "pixelcnn": 20, "realnvp": 10, "dcgan": 60, "ddpm": 8}
SMALL_STEP = ("experiment=vae_mnist_dynamic", "data.batch_size=20")

Work = Callable[[], object]


def config_of(*overrides: str, steps: int = 1) -> dict:
    """A training without evaluation and pictures; its logger, progress and checkpoints are as they always are."""
    quiet = ["trainer=cpu", "callbacks=[progress,checkpoint]", "logger=[csv]", "evaluator=[]"]
    words = [*overrides, *quiet, f"hydra.run.dir={tempfile.mkdtemp()}/run", f"trainer.max_steps={steps}"]
    with composed("train", words, None) as config:
        return training_config(config)


def data_of(config: dict) -> Data:
    """The digits; in place of MNIST noise of its shape, which takes as long and needs no files."""
    if config["data"]["name"] == "digits":
        return build.instance(config["data"])
    x = Field("image", tuple(config["data"]["shape"]), config["data"]["levels"])
    return NoiseData(x=x, condition={}, batch_size=config["data"]["batch_size"], n=LOADED // 10)


def ours_of_training(*overrides: str, steps: int) -> Work:
    config = config_of(*overrides, steps=steps)
    data = data_of(config)

    def work() -> None:
        with redirect_stderr(StringIO()):
            trainer = build.trainer(config, build.instances(config["callbacks"]))
            trainer.fit(build.training(config, build.model(config, fresh=True), data, trainer))

    return work


def plain_training(*overrides: str, steps: int) -> Work:
    """The same module, data, optimizer and average of the weights."""
    config = config_of(*overrides, steps=steps)
    data = data_of(config)
    x, batch_size, decay = data.training_split().x, config["data"]["batch_size"], config["ema"]["decay"]

    def work() -> None:
        model = build.model(config, fresh=True)
        average = deepcopy(model)
        players = [(player, optimizer_of(config, player)) for player in players_of(model)]
        pairs = list(average.parameters()), list(model.parameters())
        for _ in range(steps):
            batch = x[torch.randint(len(x), (batch_size,))]
            for player, optimizer in players:
                loss = player.loss(batch, {})["loss"].mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if decay:
                with torch.no_grad():
                    torch._foreach_lerp_(*pairs, 1 - decay)

    return work


def optimizer_of(config: dict, player: Player) -> Optimizer:
    make = build.instance({**config["optimizer"], **config["players"].get(player.name, {})})
    return make([p for module in player.modules for p in module.parameters()])


def denoiser() -> Diffusion:
    with seeded(0):
        return build.instance(config_of("model=ddpm", f"sampler.steps={NOISE_STEPS}")["model"]).eval()


def our_sampler() -> Work:
    """Samples by DDIM."""
    model = denoiser()
    return lambda: model.sample(DRAWN)


def plain_sampler() -> Work:
    """As many passes of its network."""
    model = denoiser()
    x, t = torch.randn(DRAWN, *model.space.code.shape), torch.full((DRAWN,), 500)

    @torch.no_grad()
    def work() -> None:
        for _ in range(NOISE_STEPS):
            model.network(x, t, NO_CONTEXT)

    return work


def ours_of_loading() -> Work:
    """An epoch of MNIST-sized batches from the loader."""
    data = build.instance(config_of("model=vae")["data"])
    split = type(data.training_split())(torch.zeros(LOADED, *MNIST_SHAPE, dtype=torch.uint8), {})
    loader = Loader(
        split=split,
        visit=lambda x, condition, generator: (x, condition),
        batch_size=BATCH,
        seed=0,
        rank=0,
        world_size=1,
        device=torch.device("cpu"),
    )
    return lambda: [len(loader.batch(pos)[0]) for pos in range(len(loader))]


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
    features.prepare(build.instance(config_of("model=vae")["data"]), torch.device("cpu"))
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

    units: int  # steps of training, or images, that each takes or makes
    plain: Callable[[], Work]
    ours: Callable[[], Work]


def training(*overrides: str, steps: int) -> Pair:
    """The same training by a loop that is written by hand, and by genmodels."""
    words = {"steps": steps}
    return Pair(steps, partial(plain_training, *overrides, **words), partial(ours_of_training, *overrides, **words))


PAIRS = {
    **{model: training(f"model={model}", steps=steps) for model, steps in STEPS.items()},
    "small_step": training(*SMALL_STEP, steps=1500),
    "loading": Pair(LOADED, plain_loading, ours_of_loading),
    "sampler": Pair(DRAWN * NOISE_STEPS, plain_sampler, our_sampler),
    "sampling": Pair(DRAWN, naive_sampling, cached_sampling),
    "inception": Pair(PICTURES, plain_inception, our_inception),
}
