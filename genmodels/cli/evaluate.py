"""genmodels evaluate: measures a run's model again and adds to its results.json; or scores images (`score.py`)."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from genmodels.cli import score
from genmodels.cli.app import run_app
from genmodels.cli.config.compose import resolved
from genmodels.cli.config.places import CONFIGS
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
    from genmodels.cli.config.check import check
    from genmodels.cli.config.origin import origin
    from genmodels.cli.config.schema import Evaluate
    from genmodels.cli.many.spawn import run_on

    config = resolved(cfg)
    check(config, Evaluate, origin)
    named_checkpoint(config)
    run_on(config["devices"], evaluate_run, config)


def evaluate_run(config: dict[str, Any]) -> None:
    """The part of this process in evaluating the checkpoint that a checked, resolved config names."""
    from genmodels.cli import build
    from genmodels.cli.many.group import device_named, process_group
    from genmodels.cli.metric_pictures import saves_pictures
    from genmodels.cli.tables import evaluation_progress, show_left_out, show_paths, show_results
    from genmodels.evaluators.evaluate import applicable, evaluate, left_out
    from genmodels.rank import is_rank_zero
    from genmodels.run.checkpoint import model_of, read_checkpoint, weights_of
    from genmodels.run.results import add_results
    from genmodels.training.hooks import prepare

    file = named_checkpoint(config)
    checkpoint = read_checkpoint(file)
    nodes = measured_with(config, checkpoint["config"], file)
    device = device_named(config["device"])
    model = with_sampler(model_of(checkpoint, trusted=config["trusted"]).to(device), config["sampler"])
    data, evaluators = build.part(nodes["data"]), build.parts(nodes["evaluator"])
    reasons = left_out(model, evaluators, data)
    if not applicable(model, evaluators, data):
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise UserError(f"none of the evaluators applies ({why or 'none is chosen'}); choose another evaluator")
    folder = Path(config["run"] or config["run_dir"]).expanduser()
    prepare(model, data, device)
    with process_group(device), evaluation_progress() as progress:
        records = evaluate(
            model,
            evaluators,
            data=data,
            split=config["split"],
            features=build.part(nodes["features"]),
            seed=config["seed"],
            batch_size=config["batch_size"],
            weights=weights_of(checkpoint),
            device=device,
            precision=config["precision"],
            progress=progress,
            show=saves_pictures(folder / "samples"),
        )
    if is_rank_zero():
        show_left_out(reasons)
        step = checkpoint["global_step"]
        add_results(folder / "results.json", [record.at_step(step).to_dict() for record in records])
        show_results(records, f"{file}: {step} steps")
        show_paths({"results": folder / "results.json"})


def measured_with(config: dict[str, Any], trained: dict[str, Any], file: Path) -> dict[str, Any]:
    """The calls for data, evaluators and features: the person's own, or else the run's, if these may be built.

    Of a run that was trained without evaluators they are those that a training has by default.
    """
    from genmodels.cli.config.foreign import believed, require_given, say_left_out
    from genmodels.data.of_config import placed
    from genmodels.trust import OURS, refused, require_trusted

    own = {key: config[key] for key in ("evaluator", "features") if config[key] is not None}
    theirs = {key: trained.get(key, {}) for key in ("data", "evaluator", "features") if key not in own}
    require_trusted(theirs, (*OURS, *config["trusted"]))
    if "_target_" not in theirs["data"]:
        raise refused(file, "has no data in its config")
    if not theirs.get("evaluator", True):
        theirs["evaluator"] = default_evaluators()
    found = {group: believed(group, node) for group, node in theirs.items()}
    say_left_out([place for _, left in found.values() for place in left], file)
    nodes = {group: node for group, (node, _) in found.items()}
    data = placed(nodes["data"], config["data"])
    require_given(data, "data")
    return {**nodes, **own, "data": data}


def default_evaluators() -> dict[str, Any]:
    """The calls for the evaluators that configs/train.yaml names."""
    listed = OmegaConf.load(CONFIGS / "train.yaml").defaults
    names = next(entry["evaluator"] for entry in listed if "evaluator" in entry)
    return {name: OmegaConf.to_container(OmegaConf.load(CONFIGS / "evaluator" / f"{name}.yaml")) for name in names}


def named_checkpoint(config: dict[str, Any]) -> Path:
    """The checkpoint file that `run` (with `which`) or `checkpoint` names."""
    from genmodels.run.checkpoint import checkpoint_path

    if (config["run"] is None) == (config["checkpoint"] is None):
        images = "; or images: samples=... and reference=..." if "evaluator" in config else ""
        raise UserError(f"give the model: run=RUN_DIR, or checkpoint=FILE, and not both{images}")
    if config["run"] and Path(config["run"]).expanduser().is_file():
        raise UserError(f"run={config['run']} is a file, expected a run directory; name the file with checkpoint=")
    if config["checkpoint"] and Path(config["checkpoint"]).expanduser().is_dir():
        raise UserError(
            f"checkpoint={config['checkpoint']} is a folder, expected a file; name a run directory with run="
        )
    return checkpoint_path(config["checkpoint"] or config["run"], config["which"])


def with_sampler(model: Any, node: dict[str, Any] | None) -> Any:
    """The model, with another sampler where one is given; UserError where it cannot use it."""
    from genmodels.capabilities import Samples
    from genmodels.cli import build

    if node is None:
        return model
    if not isinstance(model, Samples):
        raise UserError(f"{type(model).__name__} draws no samples, and sampler= says how to; leave it out")
    model.use(build.part(node))
    return model
