"""Evaluates while training: the evaluators that apply to the model, on every process, every so many steps."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Callback, Trainer

from genmodels.data.base import SplitName
from genmodels.evaluators.base import DataMetric, Evaluator, SampleMetric
from genmodels.evaluators.evaluate import applicable, evaluate, prepared
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.shown import Show
from genmodels.training.callbacks.progress import say
from genmodels.training.loggers.base import shown_by


class Evaluation(Callback):
    """Logs `<split>/<metric>` and leaves the metrics of the newest step in `metrics` for the best checkpoint."""

    def __init__(
        self,
        *,
        every_n_steps: int,
        split: SplitName,
        batch_size: int,
        evaluators: Mapping[str, Evaluator],
        features: Features | None,
    ):
        self.every_n_steps = every_n_steps
        self.split = split
        self.batch_size = batch_size
        self.evaluators = evaluators
        self.features = features

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Finds what cannot be evaluated before the training, not after."""
        able = applicable(type(pl_module.model), self.evaluators, pl_module.data).values()
        if any(isinstance(evaluator, DataMetric) for evaluator in able):
            pl_module.data.split(self.split)
        if any(isinstance(evaluator, SampleMetric) for evaluator in able):
            prepared(self.features, pl_module.data, pl_module.device)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        if pl_module.stepped and self.evaluators and (step % self.every_n_steps == 0 or step == trainer.max_steps):
            say(trainer, f"evaluating on {self.split}")
            pl_module.record_evaluation(self.evaluate(pl_module), step)

    def evaluate(self, pl_module: Any) -> dict[str, float]:
        """Every metric by its logged name, in the order of the evaluators; loggers are shown the values of single
        samples, how they are distributed."""
        values = shown_by(pl_module.loggers, pl_module.images_seen).values
        with pl_module.evaluating() as model:
            records = evaluate(
                model,
                self.evaluators,
                data=pl_module.data,
                split=self.split,
                features=self.features,
                seed=pl_module.seed,
                batch_size=self.batch_size,
                weights=pl_module.weights,
                device=pl_module.device,
                show=Show(values=values),
            )
        return {record.key: record.value for record in records}
