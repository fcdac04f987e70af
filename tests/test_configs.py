"""Every YAML is a constructor call written out, every experiment composes, every option says what it is."""

import inspect
from pathlib import Path
from pkgutil import resolve_name

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from genmodels.cli.config.check import HYDRAS_KEYS, check, chosen
from genmodels.cli.config.compose import compose_config, resolved
from genmodels.cli.config.places import CONFIGS, description
from genmodels.cli.config.schema import Evaluate, EvaluateImages, Sample, Train
from genmodels.errors import UserError

FILES = sorted(CONFIGS.rglob("*.yaml"))
CALLS = [file for file in FILES if "_target_" in OmegaConf.load(file)]
EXPERIMENTS = [file.stem for file in sorted((CONFIGS / "experiment").glob("*.yaml"))]
MODELS = [file.stem for file in sorted((CONFIGS / "model").glob("*.yaml"))]
DATA = [file.stem for file in sorted((CONFIGS / "data").glob("*.yaml"))]
OWN = ["data.path=mine", "data.shape=[3,16,16]"]  # what is open where the images are a person's own


def name_of(value: Path | str) -> str:
    return str(value.relative_to(CONFIGS)) if isinstance(value, Path) else str(value)


def calls_in(node: object) -> list[dict]:
    """Every mapping with a `_target_` in a YAML, but for those that are left open."""
    inside = [call for child in node.values() for call in calls_in(child)] if isinstance(node, dict) else []
    return ([node] if isinstance(node, dict) and node.get("_target_", "???") != "???" else []) + inside


@pytest.mark.parametrize("file", CALLS, ids=name_of)
def test_a_yaml_is_a_constructor_call(file):
    """Its keys are the constructor's parameters: of our own classes all of them, keyword-only, without a default.

    A defaults list may fill in parts, and Lightning's and torch's classes have settings that we leave alone.
    """
    for call in calls_in(OmegaConf.to_container(OmegaConf.load(file), resolve=False)):
        if call["_target_"] == "???":  # a class that the person names
            continue
        target = resolve_name(call["_target_"])
        not_set = {"self", "params"} - call.keys()  # params: those of an optimizer
        parameters = {k: p for k, p in inspect.signature(target).parameters.items() if k not in not_set}
        filled = {
            str(next(iter(entry))).split("/")[-1] for entry in call.get("defaults", []) if isinstance(entry, dict)
        }
        keys = (set(call) | filled) - HYDRAS_KEYS - {"defaults"}
        assert keys <= set(parameters), f"{call['_target_']} does not take {keys - set(parameters)}"
        if target.__module__.startswith("genmodels"):
            assert keys == set(parameters)
            for name, parameter in parameters.items():
                assert parameter.kind is parameter.KEYWORD_ONLY, f"{name} is not keyword-only"
                assert parameter.default is parameter.empty, f"{name} has a second default in Python"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_option_says_what_it_is(file):
    assert len(description(file)) > 10


def composed(*overrides: str) -> dict:
    config = resolved(compose_config("train", ["run_dir=somewhere", *overrides]))
    check(config, Train)
    return config


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment):
    config = composed(f"experiment={experiment}")
    assert config["name"] == experiment
    text = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text()
    assert f"genmodels train experiment={experiment}" in text


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", DATA)
def test_every_model_composes_with_every_dataset(model, data):
    """But for models of integers, which refuse continuous data by what their signatures say of `levels`."""
    own = OWN if data in ("npz", "image_folder") else []
    try:
        config = composed("name=x", f"model={model}", f"data={data}", *own)
    except UserError as refusal:
        continuous = OmegaConf.load(CONFIGS / "data" / f"{data}.yaml").levels is None
        assert continuous and str(refusal).startswith("data.levels is null") and model != "realnvp_points"
    else:
        assert config["model"]["classes"] is None


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_conditional_where_the_data_have_labels(model):
    assert composed("name=x", f"model={model}", "data=digits", "model.conditional=true")["model"]["classes"] == 10
    with pytest.raises(InterpolationResolutionError, match="needs labels, and the data have none"):
        composed("name=x", f"model={model}", "data=celeba", "model.conditional=true")


@pytest.mark.parametrize("group", ["trainer", "optimizer", "scheduler", "callbacks", "logger"])
def test_every_option_of_the_other_groups_composes(group):
    for file in (CONFIGS / group).glob("*.yaml"):
        composed("name=x", f"{group}={file.stem}")


def test_the_other_commands_compose():
    for command, schema in (("evaluate", Evaluate), ("sample", Sample)):
        for overrides in ([], ["sampler=ddim"]):
            extra = ["run_dir=somewhere"] if command == "evaluate" else []
            check(resolved(compose_config(command, [*overrides, *extra])), schema)


def test_scoring_images_composes_with_all_features_and_evaluators():
    given = ["run_dir=somewhere", "samples=a", "reference=b"]
    over_samples = [file.stem for file in (CONFIGS / "evaluator").glob("*.yaml") if file.stem != "likelihood"]
    for features in ("inception", "classifier"):
        overrides = [*given, f"features={features}", f"evaluator={over_samples}".replace("'", "")]
        check(resolved(compose_config("evaluate_images", overrides)), EvaluateImages)


def test_settings_of_a_part_that_was_left_out_are_dropped():
    config = composed("experiment=digits_vae", "callbacks=none")
    assert set(config["callbacks"]) > set(chosen(config["callbacks"])) == {"checkpoint"}
