"""The final evaluation of a training, on the test split: results.json and the table of results."""

from collections.abc import Mapping
from typing import Any

from genmodels.console import evaluation_progress, show_next, show_paths, show_results
from genmodels.engine.metric_pictures import saves_pictures
from genmodels.engine.session import Session
from genmodels.evaluators.evaluate import evaluate_model
from genmodels.evaluators.results import Record
from genmodels.evaluators.shown import shown_everywhere
from genmodels.run.layout import CHECKPOINTS, NEWEST_GRID, RESULTS, SAMPLES
from genmodels.run.results import add_results
from genmodels.training.callbacks.evaluation import Evaluation
from genmodels.training.loggers.base import shown_by


def evaluate_on_test(session: Session) -> None:
    """Evaluates on all processes; rank zero writes results.json and prints the table."""
    records = _measured(session) if session.evaluators else []
    trainer, training, run_dir = session.trainer, session.training, session.run_dir
    if not trainer.is_global_zero:
        return
    training.record({record.key: record.value for record in records}, trainer.global_step)
    at_step = [record.at_step(trainer.global_step) for record in records]
    add_results(run_dir / RESULTS, [record.to_dict() for record in at_step])
    for logger in session.loggers:
        logger.log_results(at_step)
        logger.log_checkpoints(run_dir / CHECKPOINTS)
    if records:
        title = f"{session.config['name']} after {trainer.global_step} steps, {training.images_seen} images"
        show_results(records, title)
    pictures = run_dir / NEWEST_GRID
    show_paths({"run": run_dir, **({"pictures": pictures} if pictures.exists() else {})})
    show_next(run_dir)


def _measured(session: Session) -> list[Record]:
    trainer, training, config = session.trainer, session.training, session.config
    training.to(trainer.strategy.root_device)
    pictures = saves_pictures(session.run_dir / SAMPLES)
    with training.evaluating() as model, evaluation_progress() as progress:
        return evaluate_model(
            model,
            session.evaluators,
            data=training.data,
            split="test",
            features=session.features,
            seed=config["seed"],
            batch_size=config["eval_batch_size"],
            weights=training.weights,
            device=trainer.strategy.root_device,
            progress=progress,
            known=_known(trainer, config),
            show=shown_everywhere(pictures, shown_by(trainer.loggers, training.images_seen)),
        )


def _known(trainer: Any, config: Mapping[str, Any]) -> dict[str, list[Record]]:
    """Results of the evaluation at the last step, for evaluators that the test has too: they measured samples of the
    same model, which need not be drawn again."""
    node = config["callbacks"].get("evaluation", {})
    evaluated = next((callback for callback in trainer.callbacks if isinstance(callback, Evaluation)), None)
    if evaluated is None or node.get("features") != config["features"]:
        return {}
    asked = config["evaluator"]
    return {name: found for name, found in evaluated.records.items() if node["evaluators"][name] == asked.get(name)}
