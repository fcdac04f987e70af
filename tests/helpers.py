"""What several tests need: configs composed from their parts."""

import signal
from collections.abc import Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback

from genmodels.cli.config.compose import compose_config, resolved
from genmodels.cli.config.places import CONFIGS

ConfigStore.instance().store(name="parts", node={})


def compose_model(
    model: str,
    *overrides: str,
    shape: Sequence[int] = (1, 8, 8),
    levels: int | None = 17,
    classes: int | None = 10,
    sampler: str | None = None,
) -> DictConfig:
    """The resolved config of a model (and a sampler, where given) on data with these facts."""
    facts = f"+data={{shape:{list(shape)},levels:{levels or 'null'},classes:{classes or 'null'}}}"
    groups = [f"+model={model}"] + ([f"+sampler={sampler}"] if sampler else [])
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = hydra_compose("parts", [facts, *groups, *overrides])
    OmegaConf.resolve(cfg)
    return cfg


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
