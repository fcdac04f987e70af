"""genmodels train: builds data, model and training from a config, fits, evaluates on the test split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from genmodels.cli.app import run_app
from genmodels.cli.config.compose import resolved
from genmodels.cli.failures import stack_kept_in
from genmodels.errors import UserError

PLACES = ("root", "path", "test_path")  # of a dataset's files


def run(argv: list[str]) -> int:
    """Trains, or goes on with the run that `resume=RUN_DIR` names, from the config that lies there."""
    resume = next((word.partition("=")[2] for word in reversed(argv) if word.lstrip("+").startswith("resume=")), "null")
    if resume == "null" or "--help" in argv:
        return run_app("train", argv, task)
    if not resume:
        raise UserError("resume= names no run; give resume=RUN_DIR")
    from genmodels.cli.config.paths import path_given
    from genmodels.cli.resume import resumed_config
    from genmodels.run.config import config_to_resume

    run_dir = Path(path_given("resume", resume))
    config = resumed_config(argv, run_dir, config_to_resume(run_dir, _trusted(argv)))
    return run_app("train", argv, task, config=config)


def _trusted(argv: list[str]) -> list[str]:
    """The packages that the command line names as trusted=[...]; what a run's own config says of them is nothing."""
    given = OmegaConf.from_dotlist(["trusted=[]", *(word for word in argv if word.startswith("trusted="))])["trusted"]
    if not isinstance(given, ListConfig):
        raise UserError(f"trusted is {given!r}, expected a list of packages: trusted=[{given}]")
    return [str(package) for package in given]


def task(cfg: DictConfig) -> None:
    """One training, from its composed config."""
    from genmodels.cli.config.check import check, chosen
    from genmodels.cli.config.foreign import GROUPS, require_given
    from genmodels.cli.config.origin import origin
    from genmodels.cli.config.schema import Train

    config = resolved(cfg)
    check(config, Train, origin)
    for group in GROUPS:
        require_given(config[group], group)
    from genmodels.first_stages import with_absolute_runs  # and torch with it: what is wrong is said before

    config["data"] = _absolute(config["data"])
    config["model"] = with_absolute_runs(config["model"])
    train({**config, **{group: chosen(config[group]) for group in ("evaluator", "callbacks", "logger")}})


def _absolute(data: Mapping[str, Any]) -> dict[str, Any]:
    """With the places of files in full, so that the run can be gone on with and evaluated from any directory."""
    places = {key: str(Path(data[key]).expanduser().absolute()) for key in PLACES if data.get(key) is not None}
    sources = {key: _absolute(value) for key, value in data.items() if isinstance(value, Mapping)}
    return {**data, **sources, **places}


def train(config: dict[str, Any]) -> None:
    """Trains as a checked, resolved config says; leaves a run directory with checkpoints, curves and results."""
    from genmodels.cli.many.group import leave_group
    from genmodels.cli.many.launch import trains_elsewhere
    from genmodels.cli.many.together import together

    with stack_kept_in(Path(config["run_dir"]), **together()._asdict()):
        elsewhere = trains_elsewhere(config)
    if not elsewhere:
        train_here(config)
        leave_group()


def train_here(config: dict[str, Any]) -> None:
    """The part in it of this process: of the only one, or of one of those that were started together."""
    from genmodels.cli.many.together import meeting_point, together
    from genmodels.cli.resume import beginning, is_finished
    from genmodels.cli.tables import console
    from genmodels.history import history_of
    from genmodels.rank import is_rank_zero
    from genmodels.training.stopping import Stopping

    if together().world > 1:
        meeting_point()  # here, where waiting can be interrupted: it cannot where Lightning waits
    run_dir = Path(config["run_dir"])
    stopping = Stopping(str(run_dir))
    kept = stack_kept_in(run_dir, **together()._asdict())
    with kept, history_of(run_dir, writes=is_rank_zero()) as history, stopping.listening():
        begun = beginning(config)
        if is_finished(begun, config, history.last("end")):
            if is_rank_zero():
                done = f"{run_dir} is finished: it took its {begun.step} steps; to go on give more: trainer.max_steps=N"
                console.print(done, soft_wrap=True, highlight=False)
            return
        _fit_and_test(config, run_dir, begun, history, stopping)


def _fit_and_test(config: dict[str, Any], run_dir: Path, begun: Any, history: Any, stopping: Any) -> None:
    """Fits and tests; the history says when that began, and how it ended."""
    from pytorch_lightning.callbacks import LambdaCallback

    from genmodels.cli import build
    from genmodels.cli.config.foreign import remember
    from genmodels.cli.failures import explain
    from genmodels.cli.metric_pictures import saves_pictures
    from genmodels.cli.resume import news, require_same_data
    from genmodels.errors import Stopped
    from genmodels.evaluators.subject import Subject
    from genmodels.machine import commit, hardware
    from genmodels.run.config import save_config
    from genmodels.training.callbacks.evaluation import Evaluation
    from genmodels.training.loggers.base import ours
    from genmodels.training.slurm import queue_again
    from genmodels.training.stopping import SLURMS

    data = build.part(config["data"])
    data.training_split()  # what is wrong with the files is found before anything is written
    require_same_data(begun, data)
    model = build.model(config, fresh=begun.checkpoint is None)
    evaluators, features = build.evaluation(config, model, data)
    subject = Subject(model=model, data=data)
    together = LambdaCallback(setup=lambda *_, stage: begin())
    callbacks = {"stopping": stopping, "begin": together, **build.callbacks(config, subject, evaluators, features)}
    for callback in callbacks.values():
        if isinstance(callback, Evaluation):
            callback.show_at_the_end = saves_pictures(run_dir / "samples")
    trainer = build.trainer(config, callbacks)
    training = build.training(config, model, data, trainer)
    told = news(begun, config, trainer.world_size, history.last("start"))

    def begin() -> None:
        """Once all processes are there, and none has still to read the config that was."""
        if trainer.is_global_zero:
            remember(config)
            save_config(run_dir, {**config, "resume": None})
        about = {"world_size": trainer.world_size, "hardware": hardware(), "commit": commit()}
        history.add("start", step=begun.step, changed=begun.changed, **about)
        _announce(training, trainer, run_dir, told)

    status = 0
    try:
        for logger in ours(trainer.loggers):
            logger.begin(begun.step, begun.images_seen, config["trainer"]["log_every_n_steps"])
        trainer.fit(training, ckpt_path=begun.checkpoint, weights_only=True)
        _test(training, evaluators, features, config, run_dir)
    except BaseException as error:
        status = explain(error)[1]
        if trainer.is_global_zero and isinstance(error, Stopped) and error.signal_number == SLURMS:
            queue_again()
        if trainer.is_global_zero or not (isinstance(error, Stopped) and error.together):
            raise
    finally:
        history.add("end", step=trainer.global_step, images_seen=training.images_seen, status=status)
        for logger in ours(trainer.loggers):
            logger.end(status)


def _announce(training: Any, trainer: Any, run_dir: Path, told: Sequence[str]) -> None:
    from genmodels.cli import build
    from genmodels.cli.tables import console, show_left_out
    from genmodels.evaluators.evaluate import left_out

    if not trainer.is_global_zero:
        return
    model, data = training.model, training.data
    millions = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    console.print(
        f"{type(model).__name__} with {millions:.2f} M parameters on {data.name} {list(data.shape)}, "
        f"{trainer.world_size} x {trainer.strategy.root_device}, {trainer.precision}: {run_dir}",
        soft_wrap=True,
        highlight=False,
    )
    show_left_out(left_out(model, build.parts(training.config["evaluator"]), data))
    for line in told:
        console.print(line, soft_wrap=True, highlight=False)
    for logger in trainer.loggers:
        logger.log_hyperparams(training.config)


def _test(
    training: Any, evaluators: Mapping[str, Any], features: Any, config: Mapping[str, Any], run_dir: Path
) -> None:
    """Evaluates on the test split, on every process; the first writes results.json and shows the table."""
    from genmodels.cli.metric_pictures import saves_pictures
    from genmodels.cli.tables import evaluation_progress, show_next, show_paths, show_results
    from genmodels.evaluators.evaluate import evaluate
    from genmodels.evaluators.shown import together
    from genmodels.run.results import add_results
    from genmodels.training.loggers.base import ours, shown_by

    trainer = training.trainer
    records = []
    if evaluators:
        training.to(trainer.strategy.root_device)
        with training.evaluating() as model, evaluation_progress() as progress:
            records = evaluate(
                model,
                evaluators,
                data=training.data,
                split="test",
                features=features,
                seed=config["seed"],
                batch_size=config["eval_batch_size"],
                weights=training.weights,
                device=trainer.strategy.root_device,
                progress=progress,
                known=_known(trainer.callbacks, config),
                show=together(saves_pictures(run_dir / "samples"), shown_by(trainer.loggers, training.images_seen)),
            )
    if trainer.is_global_zero:
        training.record({record.key: record.value for record in records}, trainer.global_step)
        at_step = [record.at_step(trainer.global_step) for record in records]
        add_results(run_dir / "results.json", [record.to_dict() for record in at_step])
        for logger in ours(trainer.loggers):
            logger.log_results(at_step)
            logger.log_checkpoints(run_dir / "checkpoints")
        if records:
            show_results(records, f"{config['name']} after {trainer.global_step} steps, {training.images_seen} images")
        pictures = run_dir / "samples" / "last.png"
        show_paths({"run": run_dir, **({"pictures": pictures} if pictures.exists() else {})})
        show_next(run_dir)


def _known(callbacks: Sequence[Any], config: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Results of the last step's evaluation, by those evaluators that the test has as well: of samples of the same
    model, which need not be drawn again."""
    from genmodels.training.callbacks.evaluation import Evaluation

    node = config["callbacks"].get("evaluation", {})
    evaluated = next((callback for callback in callbacks if isinstance(callback, Evaluation)), None)
    if evaluated is None or node.get("features") != config["features"]:
        return {}
    asked = config["evaluator"]
    return {name: found for name, found in evaluated.records.items() if node["evaluators"][name] == asked.get(name)}
