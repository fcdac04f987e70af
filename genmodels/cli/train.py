"""genmodels train: builds data, model and training from a config, fits, evaluates on the test split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genmodels.cli.app import run_app
from genmodels.cli.compose import resolved
from genmodels.errors import UserError

FIXED = ("model", "data", "seed", "ema", "optimizer", "discriminator_optimizer", "scheduler", "name", "experiment")


def run(argv: list[str]) -> int:
    """Trains, or goes on with the run that `resume=RUN_DIR` names, from the config that lies there."""
    resume = next((word.partition("=")[2] for word in reversed(argv) if word.startswith("resume=")), "null")
    if resume in ("", "null") or "--help" in argv:
        return run_app("train", argv, task)
    from genmodels.runs import require_run

    run_dir = require_run(Path(resume).expanduser())
    _refuse_changes(argv, run_dir)
    own = [f"hydra.run.dir={run_dir}", f"run_dir={run_dir.resolve()}", "hydra.output_subdir=null"]
    own += ["hydra/job_logging=none", "hydra.job.name=train"]
    return run_app("train", [*argv, *own], task, config=run_dir / "config.yaml")


def _refuse_changes(argv: list[str], run_dir: Path) -> None:
    for word in argv:
        key = word.lstrip("+~").split("=")[0]
        group = key.split(".")[0].split("/")[0].split("@")[0]
        if group in FIXED and key != "data.root":
            raise UserError(
                f"{word} would change what {run_dir} was trained with; a resume takes settings of trainer, callbacks, "
                "logger, evaluator and data.root, for anything else start a new run"
            )


def task(cfg: DictConfig) -> None:
    """One training, from its composed config."""
    from genmodels.cli.check import check, chosen
    from genmodels.cli.origin import origin
    from genmodels.cli.schema import Train

    config = resolved(cfg)
    check(config, Train, origin)
    train({**config, **{group: chosen(config[group]) for group in ("evaluator", "callbacks", "logger")}})


def train(config: dict[str, Any]) -> None:
    """Trains as a checked, resolved config says; leaves a run directory with checkpoints, curves and results."""
    from genmodels import runs
    from genmodels.cli import build
    from genmodels.training.loggers import wandb

    run_dir = Path(config["run_dir"])
    checkpoint = _checkpoint_to_go_on_from(run_dir, config["resume"])
    data = build.part(config["data"])
    data.training_split()  # what is wrong with the files is found before anything is written
    evaluators, features = build.evaluation(config)
    trainer = build.trainer(config, build.callbacks(config, evaluators, features))
    training = build.training(config, data, trainer)
    if runs.is_rank_zero():
        runs.save_config(run_dir, {**config, "resume": None})
    exit_code = 1
    try:
        _announce(training, trainer, run_dir)
        trainer.fit(training, ckpt_path=checkpoint, weights_only=True)
        _test(training, evaluators, features, config, run_dir)
        exit_code = 0
    finally:
        wandb.finish(exit_code)


def _checkpoint_to_go_on_from(run_dir: Path, resume: str | None) -> Path | None:
    """The last checkpoint of a resumed run; None for a new run, whose directory must not hold one already."""
    from genmodels import runs

    if resume is not None:
        checkpoint = runs.checkpoint_path(run_dir)
        runs.read_checkpoint(checkpoint)
        return checkpoint
    if runs.is_rank_zero() and (run_dir / "config.yaml").exists():
        raise UserError(f"{run_dir} holds a run already; go on with resume={run_dir}, or choose another hydra.run.dir")
    return None


def _announce(training: Any, trainer: Any, run_dir: Path) -> None:
    from genmodels.cli.tables import console

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
    for logger in trainer.loggers:
        logger.log_hyperparams(training.config)


def _test(
    training: Any, evaluators: Mapping[str, Any], features: Any, config: Mapping[str, Any], run_dir: Path
) -> None:
    """Evaluates on the test split, on every process; the first writes results.json and shows the table."""
    from genmodels import runs
    from genmodels.cli.tables import evaluation_progress, saves_pictures, show_paths, show_results
    from genmodels.evaluators.evaluate import evaluate

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
                show=saves_pictures(run_dir / "samples"),
            )
    if trainer.is_global_zero:
        training.record({record.key: record.value for record in records}, trainer.global_step)
        at_step = [record.at_step(trainer.global_step).to_dict() for record in records]
        runs.add_results(run_dir / "results.json", at_step)
        if records:
            show_results(records, f"{config['name']} after {trainer.global_step} steps, {training.images_seen} images")
        pictures = run_dir / "samples" / "last.png"
        show_paths({"run": run_dir, **({"pictures": pictures} if pictures.exists() else {})})
