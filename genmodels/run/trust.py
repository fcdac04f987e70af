"""Limits what a config from a file may do: one in a run directory, a checkpoint or an export, which anybody may write.

It may only build classes of trusted packages: it must be plain data, without interpolations, which could read the
environment, and may name no other class. What the user writes on the command line, or in their own config directories,
is not checked.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genmodels.disk.user_cache import cache_dir
from genmodels.errors import UserError

OWN_PACKAGES = ("genmodels",)
TRAINING = (
    "torch.optim",
    "pytorch_lightning.trainer",
    "optuna.pruners",
)  # what a run's config names besides our classes
MOST_BYTES, MOST_ENTRIES, MOST_DEEP = 500_000, 50_000, 50  # of a config; ours have 10,000, 500 and 6


def read_config(file: Path) -> dict[str, Any]:
    """The plain mapping in a YAML file. UserError where it is not one, is too large, or is not plain data."""
    if file.stat().st_size > MOST_BYTES:
        raise refused(file, f"is larger than {MOST_BYTES} bytes")
    try:
        text = file.read_text(encoding="utf-8")
        _require_finite(text, file)
        config = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise refused(file, f"is not valid YAML ({' '.join(str(error).split())})") from error
    require_plain(config, file)
    return cast(dict[str, Any], config)


def _require_finite(text: str, file: Path) -> None:
    """UserError where a YAML would expand to much more than its text, or is nested too deeply."""
    depth = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # libyaml's, ten times as fast
        if isinstance(event, yaml.AliasEvent):
            raise refused(file, "repeats parts by YAML aliases, which can expand without limit")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEEP:
            raise refused(file, f"has more than {MOST_DEEP} nested lists or mappings")


def require_plain(config: Any, file: Path) -> None:
    """UserError unless a config is a mapping of mappings, lists, texts and numbers, within the limits of size, without
    interpolations."""
    if not isinstance(config, dict):
        raise refused(file, "has a config that is not a mapping of keys to values")
    left, seen = [(config, 0)], 0
    while left:
        (node, depth), seen = left.pop(), seen + 1
        if seen > MOST_ENTRIES or depth > MOST_DEEP:
            raise refused(file, f"has a config of more than {MOST_ENTRIES} entries or {MOST_DEEP} nested levels")
        if isinstance(node, dict):
            left += [(child, depth + 1) for entry in node.items() for child in entry]
        elif isinstance(node, list):
            left += [(child, depth + 1) for child in node]
        elif isinstance(node, str) and "${" in node:
            raise refused(file, f"has the interpolation {node!r}, which could read this machine's environment")
        elif not isinstance(node, str | int | float | None):
            raise refused(file, f"has a {type(node).__name__} in its config")


def refused(file: Path, why: str) -> UserError:
    """The error for a file of unknown origin that is not accepted."""
    return UserError(f"{file} is refused: it {why}; give the file as genmodels wrote it, with every value written out")


def require_trusted(node: Any, trusted: Sequence[str]) -> None:
    """UserError unless all classes that a part of a file's config names are within trusted packages, or in calls that
    this user has trained with."""
    for call in calls_in(node):
        _require_trusted_call(call, trusted)


def calls_in(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping in a config that names a class, outer ones first."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from calls_in(child)


def _require_trusted_call(call: Mapping[str, Any], trusted: Sequence[str]) -> None:
    """Refuses a class outside the trusted packages before importing it, and anything that is not their class after."""
    target = str(call["_target_"])
    if note_of(call).exists():
        _resolved(target)
    elif not _is_within(target, trusted):
        package = target.split(".")[0]
        raise UserError(
            f"the config names {target}, which is not a class of {' or '.join(trusted)}; if you trust its origin, name "
            f"its package: trusted=[{package}], in Python genmodels.load(..., trusted=['{package}'])"
        )


def _is_within(target: str, trusted: Sequence[str]) -> bool:
    if target.split(".")[0] not in {package.split(".")[0] for package in trusted}:
        return False
    found = _resolved(target)
    return isinstance(found, type) and any(_within(f"{found.__module__}.{found.__qualname__}", p) for p in trusted)


def _resolved(target: str) -> Any:
    try:
        return resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        if target.split(".")[0] in OWN_PACKAGES:
            why = f"is not a class of this version ({error}); load it with the version that wrote it"
        else:
            why = f"cannot be imported ({error}); add its folder to PYTHONPATH"
        raise UserError(f"the config names {target}, which {why}") from error


def note_of(node: Any) -> Path:
    """The file in the user's own cache that marks this part of a config as one that they have trained with."""
    plain = json.loads(json.dumps(node))  # keys become texts, which can be sorted
    return cache_dir() / "own" / sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
