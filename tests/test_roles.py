"""Every key of a training's config has a role, and what depends on roles agrees with it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from omegaconf import OmegaConf

from genmodels.config.resumed import is_fixed
from genmodels.config.roles import MOVABLE, ROLES, Role, role, without
from genmodels.config.schema import Train
from genmodels.config.shipped import CONFIGS

WITH_ONE_EACH = ("trainer",)  # groups whose keys have roles of their own


def keys_of(node: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from keys_of(value, f"{above}.{name}")
        else:
            yield f"{above}.{name}", value


def yamls(group: str) -> list[tuple[str, Any]]:
    files = sorted((CONFIGS / group).rglob("*.yaml"))
    assert files
    nodes = (OmegaConf.to_container(OmegaConf.load(file), resolve=False) for file in files)
    return [pair for node in nodes for pair in keys_of({k: v for k, v in node.items() if k != "defaults"}, group)]


@pytest.mark.parametrize("key", Train.__annotations__)
def test_every_key_at_the_top_has_a_role(key):
    assert key in ROLES or key in WITH_ONE_EACH or key in MOVABLE


@pytest.mark.parametrize("group", WITH_ONE_EACH)
def test_every_key_of_a_group_of_many_roles_has_one(group):
    lacking = {key for key, _ in yamls(group)} - ROLES.keys()
    assert not {key for key in lacking if not key.startswith("trainer.strategy.")}


@pytest.mark.parametrize(("group", "made_of"), [("data", "oc.env"), ("callbacks", "run_dir"), ("logger", "run_dir")])
def test_what_names_a_place_of_this_machine_has_that_role(group, made_of):
    """A value that is made of the run's directory or of the environment is a place."""
    named = [key for key, value in yamls(group) if made_of in str(value)]
    assert named and all(role(key) is Role.PLACE for key in named)


def test_a_key_has_the_role_of_its_group_unless_it_has_its_own():
    assert role("model.network.width") is Role.TRAINS
    assert role("data.domains.first.source.root") is Role.PLACE
    assert role("trainer") is Role.MACHINE and role("trainer.devices") is Role.MACHINE
    assert role("trainer.max_steps") is Role.STEERS
    assert role("trainer.benchmark") is Role.STEERS  # one that a person adds
    assert role("hydra.run.dir") is Role.PLACE and role("hydra.sweeper.n_trials") is Role.ABOUT


def test_without_takes_out_roles_but_for_what_is_kept():
    config = {"seed": 0, "data": {"root": "/d", "name": "x"}, "trainer": {"devices": 1}, "ema": {}}
    left = {"seed": 0, "data": {"name": "x"}, "ema": {}}
    assert without(config, Role.PLACE, Role.MACHINE) == left
    assert without(config, Role.PLACE, Role.MACHINE, keep=("trainer",))["trainer"] == {"devices": 1}


@pytest.mark.parametrize(
    ("key", "fixed"),
    [
        ("model.latent_dim", True),
        ("data.batch_size", True),
        ("seed", True),
        ("experiment", True),
        ("trainer.accumulate_grad_batches", True),
        ("data.root", False),
        ("trainer.max_steps", False),
        ("trainer.precision", False),
        ("evaluator", False),
        ("callbacks.pictures.n", False),
    ],
)
def test_a_run_that_goes_on_may_change_what_does_not_train(key, fixed):
    assert is_fixed(key) is fixed
