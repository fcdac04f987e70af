"""Trainings as genmodels does them, beside a loop that is written by hand."""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from functools import partial
from io import StringIO
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch.optim import Optimizer

from benchmarks.pair import OnDevice, Pair, Piece, wait
from genmodels.capabilities import Player
from genmodels.config.checked import training_config
from genmodels.config.from_python import composed
from genmodels.data.base import Data
from genmodels.data.noise import NoiseData
from genmodels.engine import build
from genmodels.fields import Field
from genmodels.training.game import players_of
from genmodels.training.pace import Periodic

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu"}
QUIET = ("callbacks=[progress,checkpoint]", "logger=[csv]", "evaluator=[]")
IMAGES = 6_000  # of noise, where the dataset would need files


def config_of(*overrides: str, steps: int = 1, device: str = "cpu") -> dict[str, Any]:
    """A training without evaluation and pictures; its logger, progress and checkpoints are as they always are."""
    settings = [f"trainer.accelerator={ACCELERATORS[device]}", f"trainer.max_steps={steps}"]
    words = [*QUIET, *settings, f"hydra.run.dir={tempfile.mkdtemp()}/run", *overrides]
    with composed("train", words, None) as config:
        return training_config(config)


def data_of(config: Mapping[str, Any], n: int = IMAGES) -> Data:
    """The digits; in place of any other data `n` images of noise of their shape, which need no files."""
    if config["data"]["name"] == "digits":
        return build.instance(config["data"])
    x = Field("image", tuple(config["data"]["shape"]), config["data"]["levels"])
    return NoiseData(x=x, condition={}, batch_size=config["data"]["batch_size"], n=n)


def training(*overrides: str, slower: tuple[str, ...] = (), **steps: int) -> OnDevice:
    """The same training by genmodels and by hand, there with the overrides `slower` as well; steps by device."""

    def pair(device: torch.device) -> Pair:
        n = steps[device.type]
        plain = partial(by_hand, device, *overrides, *slower, steps=n)
        return Pair(n, plain, partial(by_genmodels, device, *overrides, steps=n))

    return pair


class Clock(Periodic):
    """Knows the seconds of a step, without those that Lightning asks for first: with `compile=true` they compile."""

    def __init__(self, steps: int):
        self.every_n_steps = steps
        self.first: tuple[int, float] | None = None  # steps after the first call, and the time

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        wait(trainer.strategy.root_device.type)
        step, now = trainer.global_step, time.perf_counter()
        self.first = self.first or (step, now)
        self.of_a_step = (now - self.first[1]) / max(step - self.first[0], 1)


def by_genmodels(device: torch.device, *overrides: str, steps: int) -> Piece:
    """Costs the seconds of its steps, with what is logged, shown and saved between them."""
    config = config_of(*overrides, steps=steps, device=device.type)
    data = data_of(config)

    def work() -> float:
        clock = Clock(steps)
        fit(config, data, clock)
        return steps * clock.of_a_step

    return work


def fit(config: Mapping[str, Any], data: Data, *before: Callback) -> None:
    """A training as `genmodels train` does it, in a new directory; callbacks `before` all others may watch it."""
    shutil.rmtree(config["run_dir"], ignore_errors=True)
    with silence():
        trainer = build.trainer(config, build.instances(config["callbacks"]))
        trainer.callbacks[:0] = before  # type: ignore[attr-defined]
        trainer.fit(build.training(config, build.model(config, fresh=True), data, trainer))


@contextmanager
def silence() -> Iterator[None]:
    """Shows nothing of a training's progress."""
    logging.disable(logging.INFO)
    try:
        with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def by_hand(device: torch.device, *overrides: str, steps: int) -> Piece:
    """The same module, data, optimizer and average of the weights. Costs the seconds of its steps."""
    config = config_of(*overrides, steps=steps)
    x = data_of(config).training_split().x.to(device)
    batch_size, decay = config["data"]["batch_size"], config["ema"]["decay"]

    def work() -> float:
        model = build.model(config, fresh=True).to(device)
        average = deepcopy(model)
        players = [(player, optimizer_of(config, player)) for player in players_of(model)]
        pairs = list(average.parameters()), list(model.parameters())
        began = time.perf_counter()
        for _ in range(steps):
            batch = x[torch.randint(len(x), (batch_size,), device=device)]
            for player, optimizer in players:
                loss = player.loss(batch, {})["loss"].mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if decay:
                with torch.no_grad():
                    torch._foreach_lerp_(*pairs, 1 - decay)
        wait(device.type)
        return time.perf_counter() - began

    return work


def optimizer_of(config: Mapping[str, Any], player: Player) -> Optimizer:
    make = build.instance({**config["optimizer"], **config["players"].get(player.name, {})})
    return make([p for module in player.modules for p in module.parameters()])
