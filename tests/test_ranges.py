"""Every number of every YAML at 0, -1, nan, inf and null is refused in a sentence with its key, or can be built."""

import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import make_dataclass
from functools import cache
from math import inf, nan
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal, get_args, get_type_hints

import pytest
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels.config.check import check
from genmodels.config.compose import compose_config, resolved
from genmodels.config.schema import Train
from genmodels.config.shipped import CONFIGS
from genmodels.config.unimported import keys_in
from genmodels.engine.build import optimizers
from genmodels.errors import UserError
from genmodels.failures import USERS, explain
from tests.test_configs import CALLS, MODELS, OWN, calls_in, filled_in, name_of

VALUES = (0, -1, nan, inf, None)
REFUSALS = (UserError, InstantiationException, OmegaConfBaseException)
DATA_OF = {  # of options that need certain data
    "cyclegan": ["data=domains"],
    "image": ["data=degraded"],
    "realnvp_points": ["data=toy2d"],
    **dict.fromkeys(("spline_flow", "spline_flow_ar", "maf", "iaf", "planar_flow", "radial_flow"), ["data=toy2d"]),
    **dict.fromkeys(("standardized", "points", "ode"), ["data=toy2d"]),
    "transformer": ["data=text", "data.path=mine"],
}


def numbers_in(hint: Any) -> set[type]:
    """The types of numbers that a hint has at any place, ranges left aside."""
    return {hint} & {int, float} | {kind for arg in get_args(hint) for kind in numbers_in(arg)}


@pytest.mark.parametrize("file", CALLS, ids=name_of)
def test_every_number_that_a_yaml_gives_has_a_range(file):
    """Of our own classes: their parameters are PositiveInt and the like (genmodels.ranges), not int or float."""

    def plain(hint: Any) -> bool:
        args = () if hasattr(hint, "__metadata__") else get_args(hint)
        return hint in (int, float) or any(map(plain, args))

    for call in calls_in(filled_in(OmegaConf.to_container(OmegaConf.load(file), resolve=False))):
        target = resolve_name(call["_target_"])
        if target.__module__.startswith("genmodels"):
            hints = get_type_hints(target.__init__, include_extras=True)
            assert not [key for key in call if plain(hints.get(key))], call["_target_"]


@pytest.mark.parametrize(
    ("hint", "fitting", "other"),
    [
        (int, [0, -1], [True, 1.0, "1", None]),
        (float, [0, 1.5], [True, nan, inf, "1"]),
        (bool, [True], [0, None]),
        (Literal[1, "a"], [1, "a"], [True, 1.0, "b"]),
        (tuple[int, float], [[1, 2], [1, 2.5]], [[1], [1.5, 2], [1, 2, 3]]),
        (Sequence[int], [[], [1] * 50], [[1] * 50 + [True], "11", 1, {}]),
        (Sequence[str] | None, [["a"], None], ["a", [None]]),
        (Mapping[str, float], [{}, {"a": 1}], [[1]]),
        (Any, [{}, [1], None, "nan"], [nan, inf]),
    ],
)
def test_what_a_plain_value_can_be_an_argument_for(hint, fitting, other):
    schema = make_dataclass("Schema", [("x", hint)], kw_only=True)
    for value in fitting:
        check({"x": value}, schema)
    for value in other:
        with pytest.raises(UserError, match="x is .*, expected"):
            check({"x": value}, schema)


@cache
def with_option(option: str) -> DictConfig:
    """The config of a training with this option, of a part of a model in the first model that takes it."""
    group, _, name = option.rpartition("/")
    several = group in ("evaluator", "callbacks")
    words = [f"{group}=[{name}]" if several else option.replace("/" + name, "=" + name)]
    words += DATA_OF.get(name, []) + (OWN.get(name, []) if group == "data" else [])
    for model in [name] if group == "model" else ["vae", *MODELS]:
        try:
            cfg = compose_config("train", ["name=x", "run_dir=nowhere", f"model={model}", *words])
            build(cfg, group.split("/")[0])
            return cfg
        except (*REFUSALS, HydraException):
            continue
    raise AssertionError(f"no model takes {option}")


def build(cfg: DictConfig, group: str) -> None:
    """Checks a whole config, and builds a group's part of it, with the model that it is of."""
    config = resolved(cfg)
    check(config, Train)
    if group == "optimizer":
        optimizers(config, instantiate(config["model"], _convert_="all"))
    else:
        instantiate(config["model" if group == "sampler" else group], _convert_="all")


def numeric(node: dict, path: str) -> Iterator[str]:
    target = resolve_name(node["_target_"]) if node.get("_target_", "???") != "???" else None
    hints = get_type_hints(target.__init__) if target and target.__module__.startswith("genmodels") else {}
    for key, value in node.items():
        if isinstance(value, dict):
            yield from numeric(value, f"{path}.{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}.{key}"
        elif isinstance(value, list) and value and isinstance(value[0], int | float):
            yield f"{path}.{key}.0"
        elif value is None and numbers_in(hints.get(key)):
            yield f"{path}.{key}"


def numbers_of(file: Path) -> list[str]:
    group = str(file.parent.relative_to(CONFIGS)).replace("/", ".")
    parts = [group, file.stem] if group in ("evaluator", "callbacks") else [group]
    return list(numeric(filled_in(OmegaConf.to_container(OmegaConf.load(file), resolve=False)), ".".join(parts)))


OPTIONS = {
    str(file.relative_to(CONFIGS).with_suffix("")): numbers_of(file)
    for file in CALLS
    if file.parts[-3] != "hydra" and numbers_of(file)
}


def hold(option: str, key: str, value: float | None) -> str | None:
    """The sentence that refuses a value, None where it is taken. AssertionError where that is not one sentence."""
    cfg = with_option(option).copy()
    try:
        OmegaConf.update(cfg, key, value)
        build(cfg, key.split(".")[0])
    except REFUSALS as error:
        sentence, status = explain(error)
        name = key.removesuffix(".0").split(".")[-1]
        assert status == USERS and name in sentence and "\n" not in sentence, (key, value, sentence)
        return sentence
    return None


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_a_number_out_of_range_is_refused_or_can_be_built(option):
    for key in OPTIONS[option]:
        for value in VALUES:
            hold(option, key, value)


@pytest.mark.parametrize(
    ("option", "key", "value", "expected"),
    [
        ("scheduler/cosine", "scheduler.final", -1, "a number of at least 0"),
        ("scheduler/constant", "scheduler.warmup_steps", -5, "an integer of at least 0"),
        ("model/dcgan", "model.gradient_penalty", nan, "a number of at least 0"),
        ("model/dcgan", "model.discriminator_steps", -1, "an integer of at least 1"),
        ("model/objective/elbo", "model.objective.beta", -1, "a number of at least 0"),
        ("model/ddpm", "model.network.groups", -1, "an integer of at least 1"),
        ("model/pixelcnn", "model.network.layers", -1, "an integer of at least 1"),
        ("optimizer/adam", "optimizer.betas.0", 0, None),  # as in WGAN-GP
        ("optimizer/adam", "optimizer.betas.0", 1, "a list, each a number of at least 0 and below 1"),
        ("sampler/heun", "sampler.churn_max", nan, "a number of at least 0"),
        ("sampler/heun", "sampler.churn_max", inf, None),  # the paper's: everywhere above churn_min
        ("sampler/heun", "sampler.guidance_interval", [0, inf], None),
        ("evaluator/kid", "evaluator.kid.subset_size", 0, "an integer of at least 1 or null"),
    ],
)
def test_the_sentence_names_key_value_and_range(option, key, value, expected):
    sentence = hold(option, key, value)
    assert (sentence is None) == (expected is None)
    if expected:
        assert f"{key.removesuffix('.0')} is " in sentence and sentence.endswith(f"expected {expected}")


KEYS = ["+foo=1", "+model.foo=1", "+model.encoder.foo=1", "+optimizer.foo=1", "+trainer.foo=1", "+callbacks.foo.x=1"]
KEYS += ["+trainer.max_epochs=1", "+data.foo=1", "+evaluator.fid.foo=1", "+sampler.foo=1", "+logger.csv.foo=1"]


@pytest.mark.slow
@pytest.mark.parametrize("word", ["model.latent_dim=0", "optimizer.lr=-1", "trainer.precision=fp16", "seed=-1", *KEYS])
def test_a_value_or_a_key_is_refused_before_torch_is_imported(word, tmp_path):
    code = (
        "import sys; from genmodels.cli.main import main\n"
        "try: main('train')\nexcept SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, word], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False"] and word.lstrip("+").split("=")[0].removesuffix(".x") in done.stderr


YAMLS = [OmegaConf.to_container(OmegaConf.load(file)) for file in CALLS]
CLASSES = sorted({call["_target_"] for node in YAMLS for call in calls_in(node)} - {"???"})


@pytest.mark.parametrize("target", CLASSES)
def test_the_keys_that_a_source_tells_are_those_that_there_are(target):
    found, function = keys_in(target), resolve_name(target)
    parameters = inspect.signature(function).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    assert (found is None) == takes_any or not target.startswith("genmodels.")
    assert found is None or {*found} == {*parameters} - {"self"}
