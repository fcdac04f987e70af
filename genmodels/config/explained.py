"""What each key of a config means: the comment beside the constructor's parameter, else beside the key in a YAML."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from genmodels.config.check import HYDRAS_KEYS
from genmodels.config.constructors import parameters
from genmodels.config.shipped import CONFIGS

NOT_OPTIONS = ("experiment", "sweep", "hydra")  # config folders whose files set keys of other groups
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w.'-]+):(?P<value>[^#]*)(?:#\s*(?P<comment>.*))?$")
PAD = 44  # column of the comments, in characters; a longer key moves its own comment


class Key(NamedTuple):
    """A key of a config with its value, or a part with its class."""

    name: str  # in full: "model.encoder.width"
    value: str  # as written on a command line; for a part, its class
    meaning: str

    def __str__(self) -> str:
        written = f"{self.name}={self.value}"
        return f"{written:{PAD}}  # {self.meaning}" if self.meaning else written


def keys(node: Mapping[str, Any], of: str, at: str = "") -> Iterator[Key]:
    """The keys of an unresolved config, then those of its parts; `of` is the class that takes the keys."""
    beside = {key: parameter.comment for key, parameter in parameters(of).items() if parameter.comment}
    meanings = {**in_yaml().get(of, {}), **beside} if of else {}
    inner = {key: value for key, value in node.items() if isinstance(value, Mapping) and value}
    for key, value in node.items():
        if key not in HYDRAS_KEYS and key not in inner:
            yield Key(f"{at}{key}", _written(value), meanings.get(key, ""))
    for key, part in inner.items():
        target = part.get("_target_", "")
        yield Key(f"{at}{key}", target or "...", meanings.get(key, ""))
        yield from keys(part, target, f"{at}{key}.")


def _written(value: Any) -> str:
    """A value as written on a command line."""
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()


@cache
def in_yaml() -> dict[str, dict[str, str]]:
    """The comments in the YAMLs of all options, by the class that takes the keys."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(CONFIGS.rglob("*.yaml")):
        if file.relative_to(CONFIGS).parts[0] not in NOT_OPTIONS:
            for target, comments in _commented(file):
                found[target] = {**comments, **found.get(target, {})}
    return found


def _commented(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """For each mapping in a YAML, its `_target_` and the comments beside its keys."""
    targets: dict[tuple[str, ...], str] = {}
    comments: dict[tuple[str, ...], dict[str, str]] = {}
    above: list[tuple[int, str]] = []  # indents and names of the keys that enclose a line
    for match in filter(None, map(LINE.match, file.read_text(encoding="utf-8").splitlines())):
        indent, key = len(match["indent"]), match["key"].strip("'")
        above = [(i, name) for i, name in above if i < indent]
        place = tuple(name for _, name in above)
        if key == "_target_":
            targets[place] = match["value"].strip()
        elif match["comment"]:
            comments.setdefault(place, {})[key] = match["comment"].strip()
        above.append((indent, key))
    if file.parent == CONFIGS:
        targets[()] = schema_of(file.stem)
    yield from ((targets.get(place, ""), found) for place, found in comments.items())


def schema_of(name: str) -> str:
    """The class that takes the keys at the top of configs/`name`.yaml."""
    return f"genmodels.config.schema.{''.join(part.title() for part in name.split('_'))}"
