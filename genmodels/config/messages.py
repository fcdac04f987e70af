"""Turns errors of Hydra and OmegaConf in composing a config into one sentence with the nearest valid name."""

import re
from difflib import get_close_matches
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import OmegaConf

from genmodels.config.compose import compose_config, options
from genmodels.config.shipped import CONFIGS
from genmodels.failures import one_line

SEVERAL = 4  # keys that a hint names at most


def explain_composition(error: BaseException, command: str, overrides: list[str]) -> str:
    """An error of Hydra or OmegaConf as one sentence, with the nearest valid name if one is similar."""
    text = one_line(str(error))
    if isinstance(error, yaml.YAMLError):
        return _not_yaml(error)
    if found := re.search(r"Could not (?:find|load) '([^']+)/([^'/]*)'", text):
        return unknown_option(found[1], found[2], getattr(error, "options", None))
    if found := re.search(r"Could not override '([^']+)'", text):
        path = found.group(1)
        if "@experiment." in path:
            return (
                "the experiment's file overrides groups and its first line is not # @package _global_; write that "
                "line, with nothing before it, such as a byte order mark"
            )
        known = _sweepers_keys() if path.startswith("hydra.sweeper.") else known_keys(command, overrides)
        others = [key for key in known if key != path]  # an experiment may have removed the key itself
        return f"there is no key {path} (set on the command line); {suggestion(path, others)}"
    if "Config group override must be a string" in text:
        word = next(word for word in overrides if word.endswith("=null") and (CONFIGS / word[:-5]).is_dir())
        group, _, option = word.partition("=")
        return unknown_option(group, option)
    if found := re.search(r"Error merging override (([^=]+)=.*)", text):
        return f"{found.group(1)} does not fit the type of {found.group(2)}; give such a value, or set one of its keys"
    if override := getattr(error, "override", None):
        said = re.search(r"while evaluating '.*': (.+?) See http", text)
        why = f" ({said.group(1)})" if said else ""
        return f"cannot read {override!r}{why}; write key=value, in quotes where the value has special characters"
    return text


def unknown_option(group: str, option: str, known: list[str] | None = None) -> str:
    """The sentence for an option that a group does not have; `known`: the options it has, None: all that we know."""
    return f"there is no {group}={option}; {suggestion(option, known or options(group))}"


def _not_yaml(error: yaml.YAMLError) -> str:
    """The sentence for a file that is not valid YAML: file, line and reason."""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}," if mark else "a config file"
    why = one_line(getattr(error, "problem", None) or str(error))
    return f"{where} is not valid YAML ({why}); correct it: use spaces instead of tabs, and each key once"


def known_keys(command: str, overrides: list[str]) -> list[str]:
    """Every dotted key of a command's config, with the options that the overrides choose."""
    chosen = [word for word in overrides if (CONFIGS / word.split("=")[0]).is_dir()]
    try:
        config = compose_config(command, chosen)
    except HydraException:  # a group that this command does not have
        config = compose_config(command, [])
    return list(_dotted(OmegaConf.to_container(config, resolve=False)))


def _sweepers_keys() -> list[str]:
    """The keys of a sweep's settings, which are not part of a command's config."""
    node = OmegaConf.to_container(OmegaConf.load(CONFIGS / "hydra" / "sweeper" / "genmodels.yaml"), resolve=False)
    return list(_dotted(node, "hydra.sweeper."))


def _dotted(node: Any, prefix: str = "") -> list[str]:
    keys = []
    for key, value in node.items() if isinstance(node, dict) else ():
        keys += [prefix + str(key), *_dotted(value, f"{prefix}{key}.")]
    return keys


def suggestion(name: str, choices: list[str]) -> str:
    """A hint: the dotted keys that end in `name`, else the most similar choice, else the first words of all choices."""
    inner = [choice for choice in choices if choice.endswith(f".{name}")]
    near = inner or get_close_matches(name, choices, 1, cutoff=0.6)
    first = sorted({choice.split(".")[0] for choice in choices})
    return f"did you mean {' or '.join(near[:SEVERAL])}?" if near else f"choices are {', '.join(first)}"
