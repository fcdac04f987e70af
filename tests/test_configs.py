"""Every YAML is a constructor call written out, every experiment composes, every option says what it is."""

import inspect
import re
from pathlib import Path
from pkgutil import resolve_name

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from genmodels.config.check import HYDRAS_KEYS, check, chosen
from genmodels.config.compose import compose_config, resolved
from genmodels.config.schema import Evaluate, EvaluateImages, Sample, Train
from genmodels.config.shipped import CONFIGS, description
from genmodels.engine.evaluate import measured_with
from genmodels.engine.train import train
from genmodels.errors import UserError
from genmodels.failures import USERS, explain
from tests.helpers import train_config

FILES = sorted(CONFIGS.rglob("*.yaml"))
CALLS = [file for file in FILES if "_target_" in OmegaConf.load(file)]
EXTENDING = Path(__file__).parent.parent / "docs" / "extending.md"
EXPERIMENTS = [file.stem for file in sorted((CONFIGS / "experiment").glob("*.yaml"))]
MODELS = [file.stem for file in sorted((CONFIGS / "model").glob("*.yaml"))]
DATA = [file.stem for file in sorted((CONFIGS / "data").glob("*.yaml"))]
FILE = ["data.path=mine", "data.shape=[3,16,16]"]
OWN = {
    "npz": [*FILE, "data.levels=256"],
    "image_folder": FILE,
    "text": ["data.path=mine"],
}  # what is open where the data are a person's own


OPEN = {  # what a person has to say
    "shakespeare_transformer": ["data.path=mine"],
    "digits_vqvae_prior": ["model.space.run=vqvae"],
    "digits_latent_diffusion": ["model.space.run=spatial"],
}
STAGES = {"vqvae": ["model=vqvae"], "spatial": ["model=vae", "model/encoder=spatial", "model/decoder=spatial"]}
WITHOUT_CONDITIONER = ("cyclegan",)  # its condition is the domain, always


def name_of(value: Path | str) -> str:
    return str(value.relative_to(CONFIGS)) if isinstance(value, Path) else str(value)


def calls_in(node: object) -> list[dict]:
    """Every mapping with a `_target_` in a YAML, but for those that are left open."""
    inside = [call for child in node.values() for call in calls_in(child)] if isinstance(node, dict) else []
    return ([node] if isinstance(node, dict) and node.get("_target_", "???") != "???" else []) + inside


def filled_in(node: dict) -> dict:
    """A YAML with the keys that its defaults list fills in, such as `/data@first.source: digits`; without the list."""
    for entry in node.pop("defaults", []):
        key = str(next(iter(entry))) if isinstance(entry, dict) else "override "
        if not key.startswith("override "):
            *above, last = key.partition("@")[2].split(".") if "@" in key else [key.split("/")[-1]]
            place = node
            for name in above:
                place = place[name]
            place[last] = None
    return node


@pytest.mark.parametrize("file", CALLS, ids=name_of)
def test_a_yaml_is_a_constructor_call(file):
    """Its keys are the constructor's parameters: of our own classes all of them, keyword-only, without a default.

    A defaults list may fill in parts, and Lightning's and torch's classes have settings that we leave alone.
    """
    for call in calls_in(filled_in(OmegaConf.to_container(OmegaConf.load(file), resolve=False))):
        if call["_target_"] == "???":  # a class that the person names
            continue
        target = resolve_name(call["_target_"])
        not_set = {"self", "params"} - call.keys()  # params: those of an optimizer
        parameters = {k: p for k, p in inspect.signature(target).parameters.items() if k not in not_set}
        keys = set(call) - HYDRAS_KEYS
        assert keys <= set(parameters), f"{call['_target_']} does not take {keys - set(parameters)}"
        if target.__module__.startswith("genmodels"):
            assert keys == set(parameters)
            for name, parameter in parameters.items():
                assert parameter.kind is parameter.KEYWORD_ONLY, f"{name} is not keyword-only"
                assert parameter.default is parameter.empty, f"{name} has a second default in Python"


WORDS = set(re.findall(r"`(\w+)`", re.findall(r"\| key \| meaning \|.*?\n\n", EXTENDING.read_text(), re.S)[0]))


@pytest.mark.parametrize("file", [file for file in CALLS if file.is_relative_to(CONFIGS / "model")], ids=name_of)
def test_a_network_s_keys_have_the_words_of_all_networks(file):
    for call in calls_in(OmegaConf.to_container(OmegaConf.load(file))):
        if call["_target_"].startswith("genmodels.nn."):
            given = (value for value in call.items() if not str(value[1]).startswith("${"))
            assert {key for key, _ in given} - WORDS == {"_target_"}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_option_says_what_it_is(file):
    assert len(description(file)) > 10


def composed(*overrides: str) -> dict:
    config = resolved(compose_config("train", ["run_dir=somewhere", *overrides]))
    check(config, Train)
    return config


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """A folder with little runs that could be first stages."""
    folder = tmp_path_factory.mktemp("stages")
    for name, words in STAGES.items():
        train(train_config(folder / name, "trainer=smoke", *words))
    return folder


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes(experiment, stages, monkeypatch):
    monkeypatch.chdir(stages)
    config = composed(f"experiment={experiment}", *OPEN.get(experiment, []))
    assert config["name"] == experiment
    text = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text()
    assert f"genmodels train experiment={experiment}" in text


def facts_of(data: str) -> dict:
    return OmegaConf.to_container(OmegaConf.load(CONFIGS / "data" / f"{data}.yaml"), resolve=False)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", DATA)
def test_every_model_is_built_for_every_dataset_or_refused_in_a_sentence(model, data):
    """Whatever is refused is refused while it is composed, checked or built, and before any file is read."""
    own = OWN.get(data, [])
    try:
        config = composed("name=x", f"model={model}", f"data={data}", *own)
        instantiate(config["model"], _convert_="all")
    except (UserError, InstantiationException, InterpolationResolutionError) as error:
        sentence, status = explain(error)
        assert status == USERS and "refuses its settings" not in sentence, sentence


@pytest.mark.slow
@pytest.mark.parametrize("model", [model for model in MODELS if model not in WITHOUT_CONDITIONER])
def test_a_model_is_conditional_where_the_data_have_labels(model):
    labels = composed("name=x", f"model={model}", "data=digits", "model/conditioner=label")["model"]["conditioner"]
    assert labels["classes"] == 10 and labels["sizes"] == {"vector": 11}
    with pytest.raises(InterpolationResolutionError, match="needs labels, and the data have none"):
        composed("name=x", f"model={model}", "data=celeba", "model/conditioner=label")


@pytest.mark.parametrize("layer", ["model", "experiment", "command line"])
def test_a_model_has_a_recipe_that_experiments_and_the_command_line_override(layer, tmp_path):
    """model=dcgan alone trains as its paper does."""
    given = {"model": [], "experiment": ["experiment=digits_dcgan"], "command line": ["optimizer.lr=3e-4"]}[layer]
    config = composed("name=x", *([] if layer == "experiment" else ["model=dcgan"]), *given)
    assert config["optimizer"]["lr"] == (3e-4 if layer == "command line" else 2e-4)
    assert config["optimizer"]["betas"] == [0.5, 0.999]
    assert composed("name=x", "model=dcgan", "optimizer=rmsprop")["optimizer"]["_target_"] == "torch.optim.RMSprop"
    assert composed("name=x", "model=ddpm")["sampler"]["_target_"].endswith("DDIM")
    assert composed("name=x", "model=ddpm", "sampler=heun")["model"]["sampler"]["_target_"].endswith("Heun")


@pytest.mark.slow
@pytest.mark.parametrize(
    "group", ["trainer", "optimizer", "scheduler", "ema", "players", "parameter_groups", "callbacks", "logger"]
)
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


def test_a_run_without_evaluators_is_evaluated_by_the_default_ones():
    trained = composed("name=x", "evaluator=[]")
    asked = {"evaluator": None, "features": None, "trusted": [], "data": {"root": None}}
    nodes = measured_with(asked, {**trained, "evaluator": {}}, Path("last.ckpt"))
    assert nodes["evaluator"] == composed("name=x")["evaluator"]
    assert measured_with(asked | {"evaluator": {}}, trained, Path("last.ckpt"))["evaluator"] == {}
