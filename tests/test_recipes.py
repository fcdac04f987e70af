"""A model's YAML brings its recipe, an experiment changes it, the command line has the last word; players, groups."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import nn

from genmodels.config.compose import compose_config, resolved
from genmodels.engine import build
from genmodels.errors import UserError
from genmodels.models.gan import GAN
from genmodels.training.optimizers import grouped, trained_weights
from tests.helpers import train_config

GAN_MODEL = ["model=dcgan", "model.generator.width=4", "model.discriminator.width=4"]

RECIPE = """
defaults:
  - /model/dcgan@_here_
  - _self_
  - override /optimizer@_global_.optimizer: rmsprop
  - override /scheduler@_global_.scheduler: cosine
  - override /ema@_global_.ema: power
  - override /sampler@_global_.sampler: ancestral
  - override /players@_global_.players: none
  - override /parameter_groups@_global_.parameter_groups: no_decay
"""
EXPERIMENT = """
# @package _global_
defaults:
  - override /model: mine
  - override /optimizer: sgd
  - override /scheduler: linear
  - override /ema: half_life
  - override /sampler: ddim
"""
GROUPS = ("optimizer", "scheduler", "ema", "sampler")


def kinds(folder: Path, *overrides: str) -> list[str]:
    config = compose_config("train", [f"hydra.searchpath=[file://{folder}]", "run_dir=x", "name=x", *overrides])
    return [config[group]._target_.split(".")[-1] for group in GROUPS]


@pytest.fixture
def folder(tmp_path) -> Path:
    for group, text in (("model", RECIPE), ("experiment", EXPERIMENT)):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(text)
    yield tmp_path
    GlobalHydra.instance().clear()


def test_recipe_then_experiment_then_command_line(folder):
    assert kinds(folder) == ["Adam", "Constant", "Decay", "Direct"]
    assert kinds(folder, "model=mine") == ["RMSprop", "Cosine", "Power", "Ancestral"]
    assert kinds(folder, "experiment=mine") == ["SGD", "Linear", "HalfLife", "DDIM"]
    line = ["optimizer=adamw", "scheduler=constant", "ema=decay", "sampler=direct"]
    assert kinds(folder, "experiment=mine", *line) == ["AdamW", "Constant", "Decay", "Direct"]
    assert kinds(folder, "model=mine", *line) == ["AdamW", "Constant", "Decay", "Direct"]


def test_dcgan_alone_trains_as_its_paper_says():
    config = resolved(compose_config("train", ["run_dir=x", "name=x", "model=dcgan"]))
    assert (config["optimizer"]["lr"], config["optimizer"]["betas"]) == (2e-4, [0.5, 0.999])
    assert config["players"] == {"generator": {}, "discriminator": {"lr": 2e-4}}


def test_a_recipe_that_does_not_exist_is_one_sentence(genmodels, tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    text = RECIPE.replace("rmsprop", "rmspropp")
    (tmp_path / "mine" / "model" / "mine.yaml").write_text(text)
    status, err = genmodels("train", "model=mine", f"hydra.searchpath=[file://{tmp_path}/mine]")
    assert status == 2 and "there is no optimizer=rmspropp; did you mean rmsprop?" in err and err.count("\n") == 1


def optimizers(folder: Path, *overrides: str, **changes: Any) -> dict[str, torch.optim.Optimizer]:
    config = train_config(folder, *overrides) | changes
    model = build.model(config, fresh=True)
    made = build.optimizers(config, model)
    parts = {p.name: p.modules for p in model.players()} if isinstance(model, GAN) else {"model": [model]}
    groups = config["parameter_groups"]
    return {name: make(grouped(model, trained_weights(model, parts[name]), groups)) for name, make in made.items()}


def test_players_have_optimizers_of_their_own(tmp_path):
    sgd = {"_target_": "torch.optim.SGD", "lr": 0.3, "betas": None}
    made = optimizers(tmp_path, *GAN_MODEL, "players.discriminator.lr=0.5", "+players.generator.eps=0.1")
    assert [made[name].defaults["lr"] for name in ("discriminator", "generator")] == [0.5, 2e-4]
    assert [made[name].defaults["eps"] for name in ("discriminator", "generator")] == [1e-8, 0.1]
    with pytest.raises(UserError, match=r"unexpected keyword.*correct players.discriminator and optimizer"):
        optimizers(tmp_path, *GAN_MODEL, players={"discriminator": sgd})


@pytest.mark.parametrize(
    "model, players, sentence",
    [
        (GAN_MODEL, {"critic": {}}, "players.critic is not a player of GAN: its players are discriminator, generator"),
        (["model=vae_mlp"], {"critic": {}}, "players.critic is not a player of VAE: it has one loss and no players"),
        (GAN_MODEL, {"generator": {"lrr": 1}}, "unexpected keyword argument 'lrr'; correct players.generator and opti"),
    ],
)
def test_players_that_do_not_fit_are_refused(model, players, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        optimizers(tmp_path, *model, players=players)


def test_no_decay_is_for_matrices_and_kernels(tmp_path):
    made = optimizers(tmp_path, *GAN_MODEL, "optimizer.weight_decay=0.1", "parameter_groups=no_decay")
    for optimizer in made.values():
        decayed, free = optimizer.param_groups
        assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
        assert {p.ndim for p in free["params"]} == {1} and {p.ndim for p in decayed["params"]} == {2, 4}


def test_a_group_may_be_of_layers_or_of_names():
    model = nn.ModuleDict({"word": nn.Embedding(3, 2), "out": nn.Linear(2, 2)})
    rules = {"slow": {"layers": ["Embedding"], "lr": 0.1}, "out": {"pattern": r"^out\.w", "lr": 0.2}}
    rest, slow, out = grouped(model, trained_weights(model, [model]), rules)
    assert rest["params"][0] is model["out"].bias and rest.keys() == {"params"}
    assert (slow["params"][0] is model["word"].weight, slow["lr"]) == (True, 0.1)
    assert (out["params"][0] is model["out"].weight, out["lr"]) == (True, 0.2)


def test_frozen_weights_have_no_optimizer():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    assert [name for name, _ in trained_weights(model, [model])] == ["0.weight", "0.bias"]


@pytest.mark.parametrize(
    "group, sentence",
    [
        ({"pattern": "nowhere", "lr": 0.1}, "parameter_groups.mine matches no weight"),
        ({"lr": 0.1}, "parameter_groups.mine does not select weights"),
        ({"below_dims": 2, "decay": 0.1}, "parameter_groups.mine.decay is not a setting of the optimizer"),
    ],
)
def test_groups_that_do_not_fit_are_refused(group, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        optimizers(tmp_path, "model=vae_mlp", parameter_groups={"mine": group})
