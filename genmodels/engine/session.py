"""All objects of one training: data, model, evaluators, training and Trainer, built before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, LambdaCallback

from genmodels.config.foreign import remember
from genmodels.console import console, show_left_out
from genmodels.engine import build
from genmodels.engine.metric_pictures import saves_pictures
from genmodels.engine.resume import Beginning, require_same_data, resume_notes
from genmodels.evaluators.base import Evaluator
from genmodels.evaluators.evaluate import not_applicable
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.subject import Subject
from genmodels.machine import commit, hardware
from genmodels.run.config import save_config
from genmodels.run.history import History
from genmodels.run.layout import SAMPLES
from genmodels.training.callbacks.evaluation import Evaluation
from genmodels.training.loggers.base import RunLogger, run_loggers
from genmodels.training.module import Training


@dataclass(kw_only=True)
class Session:
    """A training that is about to start or resume."""

    config: Mapping[str, Any]
    begun: Beginning
    evaluators: dict[str, Evaluator]
    features: Features | None
    trainer: Trainer
    training: Training

    @property
    def run_dir(self) -> Path:
        return Path(self.config["run_dir"])

    @property
    def loggers(self) -> Sequence[RunLogger]:
        return run_loggers(self.trainer.loggers)


def new_session(config: dict[str, Any], begun: Beginning, history: History, stopping: Callback) -> Session:
    """Builds the training of a checked config.

    Raises:
        UserError: the data files are wrong, or parts of the config do not fit together.
    """
    data: Any = build.instance(config["data"])
    data.training_split()  # finds wrong files before anything is written
    require_same_data(begun, data)
    model = build.model(config, fresh=begun.checkpoint is None)
    evaluators, features = build.evaluators_and_features(config, model, data)
    made = build.callbacks(config, Subject(model=model, data=data), evaluators, features)
    for callback in made.values():
        if isinstance(callback, Evaluation):
            callback.show_at_the_end = saves_pictures(Path(config["run_dir"]) / SAMPLES)
    begins = LambdaCallback(setup=lambda *_, stage: _begin(session, history))
    trainer = build.trainer(config, {"stopping": stopping, "begin": begins, **made})
    training = build.training(config, model, data, trainer)
    session = Session(
        config=config, begun=begun, evaluators=evaluators, features=features, trainer=trainer, training=training
    )
    return session


def _begin(session: Session, history: History) -> None:
    """Writes config and history; runs when all processes have met, and have read the earlier config."""
    trainer, begun, config = session.trainer, session.begun, session.config
    told = resume_notes(begun, config, trainer.world_size, history.last("start"))
    if trainer.is_global_zero:
        remember(config)
        save_config(session.run_dir, {**config, "resume": None})
    about = {"world_size": trainer.world_size, "hardware": hardware(), "commit": commit()}
    history.add("start", step=begun.step, changed=begun.changed, **about)
    if trainer.is_global_zero:
        _announce(session, told)
        for logger in trainer.loggers:
            logger.log_hyperparams(session.training.config)


def _announce(session: Session, told: Sequence[str]) -> None:
    """Prints what is trained, on which data and devices, the evaluators left out, and notes on a resume (`told`)."""
    trainer, model, data = session.trainer, session.training.model, cast(Any, session.training.data)
    millions = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    console.print(
        f"{type(model).__name__} with {millions:.2f} M parameters on {data.name} {list(data.shape)}, "
        f"{trainer.world_size} x {trainer.strategy.root_device}, {trainer.precision}: {session.run_dir}",
        soft_wrap=True,
        highlight=False,
    )
    show_left_out(not_applicable(model, build.instances(session.config["evaluator"]), data))
    for line in told:
        console.print(line, soft_wrap=True, highlight=False)
