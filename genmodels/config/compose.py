"""Composes configs: the resolvers that interpolations call, the options of a group, the result in plain containers."""

from collections.abc import Sequence
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError

from genmodels.config import naming  # noqa: F401  registers its resolvers
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError
from genmodels.processes.rendezvous import started


def label_sizes(classes: int | None) -> dict[str, int]:
    """Sizes of the context of a label (`genmodels.parts.conditioners.Label`); UserError without labels."""
    if classes is None:
        raise UserError("model/conditioner=label needs labels, and the data have none (data.classes is null)")
    return {"vector": classes + 1}


def image_sizes(shape: Sequence[int]) -> dict[str, int]:
    """Sizes of the context of an image of this shape (`genmodels.parts.conditioners.ImageMaps`)."""
    return {"maps": shape[0] + 1}


def degraded_shape(shape: Sequence[int], degradation: str, factor: int | None) -> list[int]:
    """Shape of a degraded copy (`genmodels.data.degraded`); wrong settings are refused later, by the config's check."""
    c, *sides = shape
    return [1, *sides] if degradation == "grey" else [c, *(side // max(1, factor or 1) for side in sides)]


def modelled_shape(*, _root_: Any) -> Any:
    """The shape of the model's input: that of its space, or of a sample where it has no space."""
    space = _root_.model.get("space")
    return _root_.data.shape if space is None else space.shape


def condition_of(name: str, fact: str, *, _root_: Any) -> Any:
    """`shape` or `levels` of one of the data's conditions; UserError where the data have no such condition."""
    conditions = _root_.data.get("condition") or {}
    if name not in conditions:
        have = f"only {', '.join(conditions)}" if conditions else "none but the label"
        raise UserError(
            f"model/conditioner=image needs the condition {name!r}, and the data have {have} "
            "(data.condition); choose data that have it, such as data=degraded"
        )
    return conditions[name][fact]


def code_of(run: str, fact: str, *, _root_: Any) -> Any:
    """`shape` or `levels` of the codes of a run's model as a first stage (`genmodels.parts.of_run.OfRun`)."""
    found = getattr(_stage(run, _root_).code, fact)
    return list(found) if isinstance(found, tuple) else found


def stage_of(run: str, *, _root_: Any) -> Any:
    """The constructor call of the first stage that a run trained."""
    return dict(_stage(run, _root_).node)


def stage_sha256(run: str, *, _root_: Any) -> str:
    """Hash of the first stage's weights."""
    return _stage(run, _root_).sha256


def _stage(run: str, root: Any) -> Any:
    from genmodels.run.first_stages import first_stage

    return first_stage(run, cast(dict, OmegaConf.to_container(root.data, resolve=True)), root.get("trusted") or [])


def npz_shape(path: str) -> list[int]:
    """Shape of a sample in an .npz file (`genmodels.data.npz`)."""
    from genmodels.data.npz import shape_in

    return shape_in(path)


def npz_levels(path: str) -> int | None:
    """Levels of the samples in an .npz file (`genmodels.data.npz`)."""
    from genmodels.data.npz import levels_in

    return levels_in(path)


def options(group: str) -> list[str]:
    """Names of a group's options: ours, and those in the user's own config directories once an app runs."""
    if GlobalHydra.instance().is_initialized():
        return GlobalHydra.instance().config_loader().get_group_options(group)
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def option(group: str, name: str) -> dict[str, Any]:
    """An option of a group, composed beside the config of the running app; missing values stay "???"."""
    cfg = compose(overrides=[f"+{group}={name}"])
    try:
        return cast(dict, OmegaConf.to_container(cfg, resolve=True))[group]
    except InterpolationToMissingValueError:  # a key refers to one whose value is missing
        return cast(dict, OmegaConf.to_container(cfg, resolve=False))[group]


OmegaConf.register_new_resolver("options", lambda group: ", ".join(options(group)), replace=True)
FACTS = (
    label_sizes,
    image_sizes,
    degraded_shape,
    condition_of,
    modelled_shape,
    code_of,
    stage_of,
    stage_sha256,
    npz_shape,
    npz_levels,
)
for resolver in FACTS:
    OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
OmegaConf.register_new_resolver("started", started, use_cache=True, replace=True)


def compose_config(command: str, overrides: list[str]) -> DictConfig:
    """The config of a command with these overrides, without its `hydra` node."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(command, overrides)


def resolved(cfg: DictConfig) -> dict:
    """The config in plain containers, interpolations resolved; UserError names a key whose value is missing (???)."""
    try:
        missing = sorted(OmegaConf.missing_keys(cfg))
    except InterpolationToMissingValueError as error:  # a key that others refer to
        missing = [str(error).split("Missing mandatory value: ")[-1].split()[0]]
    if missing:
        raise UserError(f"{missing[0]} is not given; set it on the command line: {missing[0]}=...")
    return cast(dict, OmegaConf.to_container(cfg, resolve=True))
