"""Evaluates during training: runs the evaluators that apply to the model, on all processes, every n steps."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer

from genmodels.evaluators.base import Evaluator
from genmodels.evaluators.evaluate import applicable, by_evaluator, prepared_features, sample_metrics
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.results import Record
from genmodels.evaluators.shown import NOTHING, Show, shown_everywhere
from genmodels.fields import SplitName
from genmodels.ranges import PositiveInt
from genmodels.training.callbacks.progress import lines_of, say
from genmodels.training.loggers.base import shown_by
from genmodels.training.pace import Periodic


class Evaluation(Periodic):
    """Logs `<split>/<metric>` and keeps the results of the newest step in `records`."""

    def __init__(
        self,
        *,
        every_n_steps: PositiveInt,  # steps between two evaluations
        split: SplitName,  # train, val or test
        batch_size: PositiveInt,
        evaluators: Mapping[str, Evaluator],
        features: Features | None,
    ):
        self.every_n_steps = every_n_steps
        self.split = split
        self.batch_size = batch_size
        self.evaluators = evaluators
        self.features = features
        self.records: dict[str, list[Record]] = {}  # of the newest step, by evaluator; {}: not evaluated
        self.show_at_the_end = NOTHING  # saves pictures of the last evaluation, whose samples are not drawn again

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Finds what cannot be evaluated before the training starts."""
        able = applicable(pl_module.model, self.evaluators, pl_module.data)
        metrics = sample_metrics(able)
        if len(metrics) < len(able):
            pl_module.data.split(self.split)
        if metrics:
            prepared_features(self.features, pl_module.data, pl_module.device, metrics)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        self.records = {}
        if self.evaluators and (step % self.every_n_steps == 0 or step == trainer.max_steps):
            say(trainer, f"evaluating on {self.split}")
            self.records = self.evaluate(pl_module)
            measured = [record for records in self.records.values() for record in records]
            pl_module.record_evaluation({record.key: record.value for record in measured}, step)

    def evaluate(self, pl_module: Any) -> dict[str, list[Record]]:
        """The results of each evaluator. Loggers get the values of single samples, at the last step pictures too."""
        shown = shown_by(pl_module.loggers, pl_module.images_seen)
        last = pl_module.trainer.global_step == pl_module.trainer.max_steps
        with pl_module.evaluating() as model:
            return by_evaluator(
                model,
                self.evaluators,
                data=pl_module.data,
                split=self.split,
                features=self.features,
                seed=pl_module.seed,
                batch_size=self.batch_size,
                weights=pl_module.weights,
                device=pl_module.device,
                progress=lines_of(pl_module.trainer, f"evaluating on {self.split}"),
                show=shown_everywhere(self.show_at_the_end, shown) if last else Show(values=shown.values),
            )
