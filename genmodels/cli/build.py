"""From a checked config to objects: data, model, training, trainer, evaluators."""

import logging
import warnings
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from pytorch_lightning.callbacks import Checkpoint

from genmodels.capabilities import HasAdversary, HasLoss
from genmodels.data.base import Data
from genmodels.data.loader import require_a_step
from genmodels.errors import UserError
from genmodels.evaluators.base import Evaluator, SampleMetric
from genmodels.evaluators.evaluate import applicable, refuse_settings, splits_of
from genmodels.evaluators.features.base import Features
from genmodels.seeds import seeded
from genmodels.training.adversarial import Adversarial
from genmodels.training.checkpoint import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from genmodels.training.compilation import compile_networks, require_compiler
from genmodels.training.descent import Descent
from genmodels.training.module import Training
from genmodels.training.sharding import FullySharded

INITIAL_WEIGHTS = 0  # stream of random numbers: what comes second in fold(seed, ...)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
NO_NEWS = (
    "smaller than the logging interval",
    "in eval mode at the start",
    "GPU available but not used",
    "LeafSpec",
    "AMP with fp16",
    "callbacks used to create the checkpoint",
)
OURS_FOR_PLAYERS = {
    "accumulate_grad_batches": 1,
    "gradient_clip_val": None,
}  # Lightning refuses others there


def part(node: Mapping[str, Any] | None, **given: Any) -> Any:
    """The object that a mapping with `_target_` describes; None for None."""
    return None if node is None else instantiate(node, _convert_="all", **given)


def parts(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The objects of a group from which several are chosen, by name."""
    return {name: part(node) for name, node in nodes.items()}


def training(config: Mapping[str, Any], data: Data, trainer: pl.Trainer) -> Training:
    """The model with freshly drawn weights, in the training that its capability asks for."""
    if config["compile"]:
        require_compiler()
    with seeded(config["seed"], INITIAL_WEIGHTS):
        model = part(config["model"])
    if config["channels_last"]:
        model.to(memory_format=torch.channels_last)
    made = _training_of(model, config, data, trainer)
    if config["compile"]:  # after the EMA copied the model; the noise is that of the networks as they are written
        compile_networks(model, options={"fallback_random": True})
    return made


def _training_of(model: torch.nn.Module, config: Mapping[str, Any], data: Data, trainer: pl.Trainer) -> Training:
    settings = config["trainer"]
    accumulate = settings["accumulate_grad_batches"]
    _require_divisible(data.batch_size, trainer.world_size, accumulate)
    require_a_step(data.training_split(), data.batch_size)
    shared = {
        "model": model,
        "data": data,
        "optimizer": _optimizer(config["optimizer"]),
        "schedule": part(config["scheduler"]),
        "ema_decay": config["ema"]["decay"],
        "log_every_n_steps": settings["log_every_n_steps"],
        "nan_policy": config["nan_policy"],
        "seed": config["seed"],
        "config": dict(config),
    }
    if isinstance(model, HasAdversary):
        if isinstance(trainer.strategy, FullySharded):
            raise UserError(
                "trainer=fsdp shards a model that has one loss, and this one has two players; use trainer=ddp"
            )
        return Adversarial(
            **shared,
            discriminator_optimizer=_optimizer({**config["optimizer"], **config["discriminator_optimizer"]}),
            batch_size=data.batch_size,
            batches_per_step=1,
            accumulate=accumulate,
            clip=settings["gradient_clip_val"],
            clip_by=settings["gradient_clip_algorithm"],
        )
    if isinstance(model, HasLoss):
        return Descent(**shared, batch_size=data.batch_size // accumulate, batches_per_step=accumulate)
    raise UserError(f"{type(model).__name__} cannot be trained: it is neither HasLoss nor HasAdversary")


def _require_divisible(batch_size: int, world_size: int, accumulate: int) -> None:
    if batch_size % (world_size * accumulate):
        raise UserError(
            f"data.batch_size={batch_size} is global and does not divide by {world_size} processes x {accumulate} "
            f"accumulated batches; set a multiple of {world_size * accumulate}"
        )


def _optimizer(node: Mapping[str, Any]) -> Callable[..., torch.optim.Optimizer]:
    make = part(node)
    try:
        make([torch.zeros(1, requires_grad=True)])
    except (TypeError, ValueError) as error:
        raise UserError(f"the optimizer refuses its settings: {error}; correct optimizer.*") from error
    return make


def trainer(config: Mapping[str, Any], callbacks: Mapping[str, pl.Callback]) -> pl.Trainer:
    """Lightning's Trainer with our loggers, callbacks and checkpoint files."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for hint in NO_NEWS:
        warnings.filterwarnings("ignore", f".*{hint}.*")
    adversarial = issubclass(class_of(config["model"]), HasAdversary)
    settings = {**config["trainer"], **(OURS_FOR_PLAYERS if adversarial else {})}
    if settings["precision"] not in PRECISIONS:
        raise UserError(f"trainer.precision is {settings['precision']!r}, expected one of {', '.join(PRECISIONS)}")
    made = part(
        settings,
        logger=list(parts(config["logger"]).values()),
        callbacks=sorted(callbacks.values(), key=lambda callback: isinstance(callback, LastCheckpoint)),  # it knows all
        plugins=[AtomicCheckpointIO()],
        default_root_dir=config["run_dir"],
        max_epochs=-1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks.values()),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if made.precision != settings["precision"]:  # Lightning takes another one and says so in a warning
        raise UserError("trainer.precision=16-mixed needs a GPU and there is none; take trainer.precision=bf16-mixed")
    return made


def class_of(node: Mapping[str, Any]) -> type:
    """The class that a mapping with `_target_` calls."""
    return resolve_name(node["_target_"])


def callbacks(config: Mapping[str, Any], evaluators: Mapping[str, Evaluator], features: Features | None) -> dict:
    """The callbacks by name; the best checkpoint is told what it follows, and left out where nothing is evaluated."""
    made = {}
    for name, node in config["callbacks"].items():
        if not issubclass(class_of(node), BestCheckpoint):
            made[name] = part(node)
        elif evaluators:
            made[name] = part(node, **_followed(config, node, evaluators, features))
    return made


def _followed(
    config: Mapping[str, Any], node: Mapping[str, Any], evaluators: Mapping[str, Evaluator], features: Features | None
) -> dict[str, str]:
    """What the best checkpoint follows: what its config names, else the first result of the first evaluator."""
    if node["monitor"] is not None or node["mode"] is not None:
        return {}
    first = next(iter(evaluators.values()))
    metric = first.primary(features.name if features else "", config["data"]["levels"])
    return {"monitor": f"{config['callbacks']['evaluation']['split']}/{metric}", "mode": first.mode}


def evaluation(config: Mapping[str, Any], data: Any) -> tuple[dict[str, Evaluator], Features | None]:
    """The evaluators that apply to the configured model on these data, by name, and the features they share."""
    evaluators = applicable(class_of(config["model"]), parts(config["evaluator"]), data)
    over_samples = [e for e in evaluators.values() if isinstance(e, SampleMetric)]
    refuse_settings(over_samples, splits_of(over_samples, data))  # now, and not after the training
    return evaluators, part(config["features"])
