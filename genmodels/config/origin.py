"""Where a key of the composed config was set: on the command line, in the experiment file, or in a group's file."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf


def origin(path: str) -> str:
    """Text for the end of a sentence about the key `path`: " (set ...)", or "" where the origin is unknown."""
    hydra = HydraConfig.get()
    choices = hydra.runtime.choices
    if path == "experiment":
        return f" (set in experiment/{choices['experiment']}.yaml: does its first line say # @package _global_?)"
    if any(_covers(_key(override), path) for override in hydra.overrides.task):
        return " (set on the command line)"
    group = path.split(".")[0]
    for name in (f"experiment/{choices.get('experiment')}", f"{group}/{choices.get(group)}"):
        for source in hydra.runtime.config_sources:
            file = Path(source.path, f"{name}.yaml")
            if source.schema == "file" and file.is_file() and _sets(file, path):
                return f" (set in {name}.yaml)"
    return ""


def on_command_line(path: str) -> bool:
    """Whether the key `path` itself was set on the command line."""
    return any(_key(override) == path for override in HydraConfig.get().overrides.task)


def _key(override: str) -> str:
    return override.lstrip("+~").split("=")[0].split("@")[-1].replace("/", ".")


def _covers(key: str, path: str) -> bool:
    return key == path or (key.count(".") > 0 and path.startswith(key + ".")) or key.startswith(path + ".")


def _sets(file: Path, path: str) -> bool:
    """Whether a YAML file has the key, by its path from the root or from its group."""
    node = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return any(_has(node, keys) for keys in (path.split("."), path.split(".")[1:]) if keys)


def _has(node: object, keys: list[str]) -> bool:
    return not keys or (isinstance(node, dict) and keys[0] in node and _has(node[keys[0]], keys[1:]))
