"""From a checked config to objects: data, model, training, trainer, evaluators."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.callbacks import Checkpoint

from genmodels.capabilities import HasLoss, HasPlayers
from genmodels.data.base import Data
from genmodels.data.loader import require_a_step
from genmodels.errors import UserError
from genmodels.evaluators.base import Evaluator
from genmodels.evaluators.evaluate import applicable, check_features, refuse_settings, sample_metrics, splits_of
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.subject import Subject
from genmodels.processes.rendezvous import started_by_srun
from genmodels.run.config import stamped
from genmodels.run.first_stages import load_first_stages
from genmodels.seeds import seeded
from genmodels.training.checkpoint import AtomicCheckpointIO, BeforeTheEnd, BestCheckpoint, LastCheckpoint
from genmodels.training.compilation import compiled, require_compiler
from genmodels.training.game import PLAYER, Game
from genmodels.training.hooks import initialisers
from genmodels.training.optimizers import MakeOptimizer, check_groups
from genmodels.training.sharding import FullySharded
from genmodels.training.stopping import Stopping

INITIAL_WEIGHTS = 0  # stream of random numbers: the second argument of fold(seed, ...)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
NO_NEWS = (
    "smaller than the logging interval",
    "in eval mode at the start",
    "GPU available but not used",
    "LeafSpec",
    "AMP with fp16",
    "callbacks used to create the checkpoint",
)
BY_GAME = {
    "accumulate_grad_batches": 1,
    "gradient_clip_val": None,
}  # `Game` does these itself


def instance(node: Mapping[str, Any] | None, **given: Any) -> Any:
    """The object that a mapping with `_target_` describes; None for None."""
    return None if node is None else instantiate(node, _convert_="all", **given)


def instances(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The objects of a group from which several are chosen, by name."""
    return {name: instance(node) for name, node in nodes.items()}


def model(config: Mapping[str, Any], *, fresh: bool) -> torch.nn.Module:
    """The configured model with new random weights; a new run (`fresh`) loads those of other runs that it builds on.

    A resumed run has them all in its own checkpoint.
    """
    with seeded(config["seed"], INITIAL_WEIGHTS):
        made = instance(config["model"])
    if fresh:
        load_first_stages(made)
    return made.to(memory_format=torch.channels_last) if config["channels_last"] else made


def training(config: Mapping[str, Any], model: torch.nn.Module, data: Data, trainer: pl.Trainer) -> Game:
    """The training that fits the model's capability."""
    if config["compile"]:
        require_compiler()
    made = _training_of(model, config, data, trainer)
    if config["compile"]:  # the noise is that of a loss that is not compiled
        made.players = compiled(made.players, options={"fallback_random": True})
    return made


def _training_of(model: torch.nn.Module, config: Mapping[str, Any], data: Data, trainer: pl.Trainer) -> Game:
    settings = config["trainer"]
    accumulate = settings["accumulate_grad_batches"]
    _require_divisible(data.batch_size, trainer.world_size, accumulate)
    require_a_step(data.training_split(), data.batch_size)
    if isinstance(trainer.strategy, FullySharded) and (isinstance(model, HasPlayers) or initialisers(model)):
        raise UserError(
            "trainer=fsdp shards a model that has one loss and is not initialised from data, and this one has players "
            "or is; use trainer=ddp"
        )
    return Game(
        model=model,
        data=data,
        optimizers=optimizers(config, model),
        groups=config["parameter_groups"],
        schedule=instance(config["scheduler"]),
        ema=instance(config["ema"]),
        batch_size=data.batch_size,
        accumulate=accumulate,
        clip=settings["gradient_clip_val"],
        clip_by=settings["gradient_clip_algorithm"],
        log_every_n_steps=settings["log_every_n_steps"],
        nan_policy=config["nan_policy"],
        seed=config["seed"],
        config=stamped(config),
    )


def optimizers(config: Mapping[str, Any], model: torch.nn.Module) -> dict[str, MakeOptimizer]:
    """Functions that make the optimizer of each player, or the only one; UserError where settings are wrong."""
    if not isinstance(model, HasLoss | HasPlayers):
        raise UserError(f"{type(model).__name__} cannot be trained: it is neither HasLoss nor HasPlayers")
    names = [player.name for player in model.players()] if isinstance(model, HasPlayers) else []
    changed = config["players"]
    if unknown := sorted(changed.keys() - set(names)):
        known = f"its players are {', '.join(names)}" if names else "it has one loss and no players"
        raise UserError(f"players.{unknown[0]} is not a player of {type(model).__name__}: {known}")
    made = {name: _optimizer({**config["optimizer"], **changed.get(name, {})}, name, changed) for name in names}
    made = made or {PLAYER: _optimizer(config["optimizer"], PLAYER, {})}
    for make in made.values():
        check_groups(model, config["parameter_groups"], _try(make).defaults)
    return made


def _require_divisible(batch_size: int, world_size: int, accumulate: int) -> None:
    if batch_size % (world_size * accumulate):
        raise UserError(
            f"data.batch_size={batch_size} is global and does not divide by {world_size} processes x {accumulate} "
            f"accumulated batches; set a multiple of {world_size * accumulate}"
        )


def _optimizer(node: Mapping[str, Any], player: str, changed: Mapping[str, Any]) -> MakeOptimizer:
    floats = {"betas": [float(beta) for beta in node["betas"]]} if node.get("betas") else {}  # torch takes no 0 for 0.0
    make = instance({**node, **floats})
    try:
        _try(make)
    except (TypeError, ValueError) as error:
        where = f"players.{player} and optimizer" if changed.get(player) else "optimizer"
        raise UserError(f"the optimizer refuses its settings: {error}; correct {where}.*") from error
    return make


def _try(make: MakeOptimizer) -> torch.optim.Optimizer:
    return make([{"params": [torch.zeros(1, requires_grad=True)]}])


def trainer(config: Mapping[str, Any], callbacks: Mapping[str, pl.Callback]) -> pl.Trainer:
    """Lightning's Trainer with our loggers, callbacks and checkpoint files."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for hint in NO_NEWS:
        warnings.filterwarnings("ignore", f".*{hint}.*")
    settings = {**config["trainer"], **BY_GAME}
    if settings["precision"] not in PRECISIONS:
        raise UserError(f"trainer.precision is {settings['precision']!r}, expected one of {', '.join(PRECISIONS)}")
    made = instance(
        settings,
        logger=list(instances(config["logger"]).values()),
        callbacks=in_order(list(callbacks.values())),
        plugins=[AtomicCheckpointIO(), *_alone_in_an_allocation()],
        default_root_dir=config["run_dir"],
        max_epochs=-1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks.values()),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if made.precision != settings["precision"]:  # Lightning would choose another one, with only a warning
        raise UserError("trainer.precision=16-mixed needs a GPU and there is none; set trainer.precision=bf16-mixed")
    return made


def in_order(callbacks: Sequence[pl.Callback]) -> list[pl.Callback]:
    """The callbacks in order: LastCheckpoint saves the state of all, so it comes last; BeforeTheEnd saves the last step
    before slow callbacks."""
    last = [callback for callback in callbacks if isinstance(callback, LastCheckpoint)]
    stopping = [callback for callback in callbacks if isinstance(callback, Stopping)]
    others = [callback for callback in callbacks if callback not in (*last, *stopping)]
    return [*stopping, *map(BeforeTheEnd, last), *others, *last]


def _alone_in_an_allocation() -> list[LightningEnvironment]:
    """For a process in a SLURM allocation that srun has not started: Lightning would wait for the other tasks."""
    alone = SLURMEnvironment.detect() and not started_by_srun() and not TorchElasticEnvironment.detect()
    return [LightningEnvironment()] if alone else []


def class_of(node: Mapping[str, Any]) -> type:
    """The class that a mapping with `_target_` calls."""
    return resolve_name(node["_target_"])


def callbacks(config: Mapping[str, Any], subject: Subject, evaluators: Mapping[str, Evaluator], features: Any) -> dict:
    """The callbacks by name, with what the best checkpoint follows; it is left out where nothing is evaluated."""
    made = {}
    for name, node in config["callbacks"].items():
        if not issubclass(class_of(node), BestCheckpoint):
            made[name] = instance(node)
        elif evaluators:
            made[name] = instance(node, **_followed(config, node, evaluators, subject, features))
    return made


def _followed(
    config: Mapping[str, Any],
    node: Mapping[str, Any],
    evaluators: Mapping[str, Evaluator],
    subject: Subject,
    features: Features | None,
) -> dict[str, str]:
    """The metric that the best checkpoint follows: that of its config, else the first result of the first evaluator.

    UserError where that is not evaluated during training.
    """
    if "evaluation" not in config["callbacks"]:
        raise UserError("callbacks.best follows what callbacks.evaluation measures; choose callbacks=[evaluation,best]")
    split, extractor = config["callbacks"]["evaluation"]["split"], features.name if features else ""
    names = [f"{split}/{name}" for e in evaluators.values() for name in e.metrics(subject, extractor)]
    if node["monitor"] is None and node["mode"] is None:
        return {"monitor": names[0], "mode": next(iter(evaluators.values())).mode}
    if node["monitor"] not in (None, *names):
        raise UserError(f"callbacks.best.monitor={node['monitor']} is not evaluated; choose one of {', '.join(names)}")
    return {}


def evaluators_and_features(
    config: Mapping[str, Any], model: torch.nn.Module, data: Any
) -> tuple[dict[str, Evaluator], Features | None]:
    """The evaluators that apply to this model on these data, by name, and the features they share.

    UserError where one could not measure, so that this is found before the training.
    """
    evaluators, features = applicable(model, instances(config["evaluator"]), data), instance(config["features"])
    if over_samples := sample_metrics(evaluators):
        refuse_settings(over_samples, splits_of(over_samples, data))
        check_features(features, data, over_samples)
    for split in {"test", config["callbacks"].get("evaluation", {"split": "test"})["split"]}:
        for evaluator in evaluators.values():
            evaluator.check(Subject(model=model, data=data, split=split))
    return evaluators, features
