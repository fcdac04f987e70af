"""Composing configs: what interpolations may call, which options a group has, and the result in plain containers."""

from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from genmodels.cli.config import naming  # noqa: F401  its resolvers
from genmodels.cli.config.places import CONFIGS
from genmodels.cli.many.together import started
from genmodels.errors import UserError


def label_classes(conditional: Any, classes: int | None) -> int | None:
    """`classes` where a model is conditional on labels, else None; UserError where the data have no labels."""
    if conditional and classes is None:
        raise UserError("model.conditional=true needs labels, and the data have none (data.classes is null)")
    return classes if conditional else None


def options(group: str) -> list[str]:
    """Names of a group's options: ours, and those of a person's own config directories once an app runs."""
    if GlobalHydra.instance().is_initialized():
        return GlobalHydra.instance().config_loader().get_group_options(group)
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def option(group: str, name: str) -> dict[str, Any]:
    """An option of a group, composed beside the config that an app runs with; keys left open stay "???"."""
    return cast(dict, OmegaConf.to_container(compose(overrides=[f"+{group}={name}"]), resolve=True))[group]


OmegaConf.register_new_resolver("options", lambda group: ", ".join(options(group)), replace=True)
OmegaConf.register_new_resolver("label_classes", label_classes, replace=True)
OmegaConf.register_new_resolver("started", started, use_cache=True, replace=True)


def compose_config(command: str, overrides: list[str]) -> DictConfig:
    """The config that a command would get with these overrides, without its `hydra` node."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(command, overrides)


def resolved(cfg: DictConfig) -> dict:
    """The config in plain containers, interpolations resolved; UserError names a key that was left open (???)."""
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise UserError(f"{missing[0]} is not given; set it on the command line: {missing[0]}=...")
    return cast(dict, OmegaConf.to_container(cfg, resolve=True))
