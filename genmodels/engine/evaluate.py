"""Evaluates a run's model again: with the checkpoint, data, evaluators and features of a checked config."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from genmodels.config.foreign import print_left_out, require_given, without_foreign_paths
from genmodels.config.shipped import CONFIGS
from genmodels.console import evaluation_progress, show_left_out, show_paths, show_results
from genmodels.engine import build
from genmodels.engine.metric_pictures import saves_pictures
from genmodels.engine.trained import named_checkpoint, with_sampler
from genmodels.errors import UserError
from genmodels.evaluators.evaluate import applicable, evaluate_model, not_applicable
from genmodels.processes.group import device_named, process_group
from genmodels.rank import is_rank_zero
from genmodels.run.checkpoint import model_of, read_checkpoint, weights_in_protocol
from genmodels.run.data import placed
from genmodels.run.layout import RESULTS, SAMPLES
from genmodels.run.results import add_results
from genmodels.run.trust import OWN_PACKAGES, refused, require_trusted
from genmodels.training.hooks import prepare_model


def evaluate(config: dict[str, Any]) -> None:
    """Evaluates the checkpoint that a checked, resolved config names; each process calls it and does its part."""

    file = named_checkpoint(config)
    checkpoint = read_checkpoint(file)
    nodes = measured_with(config, checkpoint["config"], file)
    device = device_named(config["device"])
    model = with_sampler(model_of(checkpoint, trusted=config["trusted"]).to(device), config["sampler"])
    data, evaluators = build.instance(nodes["data"]), build.instances(nodes["evaluator"])
    reasons = not_applicable(model, evaluators, data)
    if not applicable(model, evaluators, data):
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise UserError(f"no evaluator applies to this model ({why or 'none is chosen'}); choose another evaluator")
    folder = Path(config["run"] or config["run_dir"]).expanduser()
    prepare_model(model, data, device)
    with process_group(device), evaluation_progress() as progress:
        records = evaluate_model(
            model,
            evaluators,
            data=data,
            split=config["split"],
            features=build.instance(nodes["features"]),
            seed=config["seed"],
            batch_size=config["batch_size"],
            weights=weights_in_protocol(checkpoint),
            device=device,
            precision=config["precision"],
            progress=progress,
            show=saves_pictures(folder / SAMPLES),
        )
    if is_rank_zero():
        show_left_out(reasons)
        step = checkpoint["global_step"]
        add_results(folder / RESULTS, [record.at_step(step).to_dict() for record in records])
        show_results(records, f"{file}: {step} steps")
        show_paths({"results": folder / RESULTS})


def measured_with(config: dict[str, Any], trained: dict[str, Any], file: Path) -> dict[str, Any]:
    """The nodes of data, evaluators and features: the user's, else the run's, if their classes are trusted.

    A run that was trained without evaluators gets the default evaluators of `train`.
    """
    own = {key: config[key] for key in ("evaluator", "features") if config[key] is not None}
    theirs = {key: trained.get(key, {}) for key in ("data", "evaluator", "features") if key not in own}
    require_trusted(theirs, (*OWN_PACKAGES, *config["trusted"]))
    if "_target_" not in theirs["data"]:
        raise refused(file, "has no data in its config")
    if not theirs.get("evaluator", True):
        theirs["evaluator"] = default_evaluators()
    found = {group: without_foreign_paths(group, node) for group, node in theirs.items()}
    print_left_out([place for _, left in found.values() for place in left], file)
    nodes = {group: node for group, (node, _) in found.items()}
    data = placed(nodes["data"], config["data"])
    require_given(data, "data")
    return {**nodes, **own, "data": data}


def default_evaluators() -> dict[str, Any]:
    """The nodes of the evaluators in the defaults of configs/train.yaml."""
    listed = OmegaConf.load(CONFIGS / "train.yaml").defaults
    names = next(entry["evaluator"] for entry in listed if "evaluator" in entry)
    return {name: OmegaConf.to_container(OmegaConf.load(CONFIGS / "evaluator" / f"{name}.yaml")) for name in names}
