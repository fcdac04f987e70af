"""What several tests need: configs composed from their parts."""

import signal
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback
from torch import nn

from genmodels.cli.main import main
from genmodels.config.check import check
from genmodels.config.compose import compose_config, resolved
from genmodels.config.shipped import CONFIGS as CONFIGS
from genmodels.data.loader import Loader
from genmodels.engine.build import class_of
from genmodels.seeds import seeded


def compose_model(
    model: str,
    *overrides: str,
    shape: Sequence[int] = (1, 8, 8),
    levels: int | None = 17,
    classes: int | None = 10,
    sampler: str | None = None,
) -> DictConfig:
    """The resolved config of a model, with its recipe, on data with these facts; `sampler` in place of its own."""
    cfg = composed(f"model={model}", *([f"sampler={sampler}"] if sampler else []), *overrides)
    cfg.data.update({"shape": [*shape], "levels": levels, "classes": classes})
    return OmegaConf.create(resolved(cfg))


@cache
def composed(*overrides: str) -> DictConfig:
    """The config of a training on the digits, not resolved yet; its facts of the data are set by whoever takes it."""
    return compose_config("train", ["data=digits", "name=test", "run_dir=nowhere", *overrides])


def build_model(model: str, *overrides: str, seed: int = 0, **facts: Any) -> nn.Module:
    """The model that a command would make, checked, with weights drawn from `seed`. UserError where it is refused."""
    node = OmegaConf.to_container(compose_model(model, *overrides, **facts).model, resolve=True)
    check(node, class_of(node))
    try:
        with seeded(seed):
            return instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise error.__cause__ or error from None


def exit_status(words: Sequence[str]) -> int:
    """How a command line ends, run in this process."""
    with pytest.raises(SystemExit) as ended:
        main(words[0], list(words[1:]))
    return ended.value.code


def train_config(run_dir: Path, *overrides: str) -> dict:
    """The resolved config of `genmodels train overrides...` for a quick run on the CPU in this directory."""
    quick = ["trainer=cpu", "logger=csv", "callbacks=none", "evaluator=[]", "data.batch_size=64", "name=test"]
    cfg = compose_config("train", [*quick, f"run_dir={run_dir}", *overrides])
    return resolved(cfg)


class Crash(Callback):
    """Ends the training with an error right after a batch, as a fault of the machine would."""

    def __init__(self, *, after_batches: int):
        self.after_batches = after_batches

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if pl_module.batches == self.after_batches:
            raise RuntimeError("the machine failed")


class Signal(Callback):
    """Sends this process (that of one rank) a signal in the middle of a step, or while it evaluates."""

    def __init__(self, *, number: int, after_batches: int, rank: int = 0):
        self.number = number
        self.after_batches = after_batches
        self.rank = rank

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if pl_module.batches == self.after_batches and trainer.global_rank == self.rank:
            signal.raise_signal(self.number)


def epoch(loader: Loader) -> list[tuple[Any, Any]]:
    """All batches of a loader's first epoch."""
    return [loader.batch(pos) for pos in range(len(loader))]
