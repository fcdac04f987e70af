"""genmodels evaluate: measures a run's model again and adds to its results.json; or scores images (`score.py`)."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genmodels.cli import score
from genmodels.cli.app import run_app
from genmodels.cli.compose import resolved
from genmodels.cli.places import CONFIGS
from genmodels.errors import UserError

OF_IMAGES = {"samples", "reference", "reference_split", "classifier_data"}  # keys that there are for images only


def run(argv: list[str]) -> int:
    """Evaluates a run's model, or scores images, whichever the keys are of."""
    keys = {word.lstrip("+~").split("=")[0] for word in argv}
    if not keys & OF_IMAGES:
        return run_app("evaluate", argv, task)
    if model := sorted(keys & {"run", "checkpoint"}):
        raise UserError(f"{model[0]}= gives a model, samples= and reference= give images; choose one of the two")
    return run_app("evaluate", argv, score.task, config=CONFIGS / "evaluate_images.yaml")


def task(cfg: DictConfig) -> None:
    """One evaluation, from its composed config."""
    from genmodels.cli.check import check
    from genmodels.cli.origin import origin
    from genmodels.cli.schema import Evaluate

    config = resolved(cfg)
    check(config, Evaluate, origin)
    evaluate_run(config)


def evaluate_run(config: dict[str, Any]) -> None:
    """Evaluates the checkpoint that a checked, resolved config names."""
    from genmodels import runs
    from genmodels.cli import build
    from genmodels.cli.processes import device_named, process_group
    from genmodels.cli.tables import evaluation_progress, saves_pictures, show_paths, show_results
    from genmodels.evaluators.evaluate import applicable, evaluate

    file = named_checkpoint(config)
    checkpoint = runs.read_checkpoint(file)
    trained = checkpoint["config"]
    runs.require_trusted([trained["data"], trained["evaluator"], trained["features"]], config["trusted"])
    device = device_named(config["device"])
    model = with_sampler(runs.model_of(checkpoint, trusted=config["trusted"]).to(device), config["sampler"])
    root = config["data"]["root"]
    data = build.part({**trained["data"], **({"root": root} if root and "root" in trained["data"] else {})})
    evaluators = build.parts(config["evaluator"] or trained["evaluator"])
    able = applicable(model, evaluators)
    if not able:
        raise UserError(f"none of {', '.join(evaluators)} applies to {type(model).__name__}; choose another evaluator")
    folder = file.parent.parent if config["run"] else Path(config["run_dir"])
    with process_group(device), evaluation_progress() as progress:
        records = evaluate(
            model,
            able,
            data=data,
            split=config["split"],
            features=build.part(config["features"] or trained["features"]),
            seed=config["seed"],
            batch_size=config["batch_size"],
            weights=runs.weights_of(checkpoint),
            device=device,
            progress=progress,
            show=saves_pictures(folder / "samples"),
        )
    if runs.is_rank_zero():
        step = checkpoint["global_step"]
        runs.add_results(folder / "results.json", [record.at_step(step).to_dict() for record in records])
        show_results(records, f"{file}: {step} steps")
        show_paths({"results": folder / "results.json"})


def named_checkpoint(config: dict[str, Any]) -> Path:
    """The checkpoint file that `run` (with `which`) or `checkpoint` names."""
    from genmodels import runs

    if (config["run"] is None) == (config["checkpoint"] is None):
        raise UserError(
            "give the model: run=RUN_DIR, or checkpoint=FILE, and not both; or images: samples=... and reference=..."
        )
    return runs.checkpoint_path(config["checkpoint"] or config["run"], config["which"])


def with_sampler(model: Any, node: dict[str, Any] | None) -> Any:
    """The model, with another sampler where one is given; UserError where the model has none to exchange."""
    from genmodels.capabilities import Denoises
    from genmodels.cli import build

    if node is None:
        return model
    if not isinstance(model, Denoises):
        raise UserError(f"{type(model).__name__} has one way to sample; sampler= is for models that denoise")
    model.sampler = build.part(node)
    return model
