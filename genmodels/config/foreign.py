"""Paths and URLs in a config from a file: kept where this user has trained with them, otherwise left out.

A file that somebody else made may name options, numbers and hashes. Only the user decides where files are read and
written, and from which URLs they are downloaded; the user's cache remembers what they have trained with.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from genmodels.config.paths import LAST as PLACES
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError
from genmodels.run.trust import OWN_PACKAGES, TRAINING, calls_in, note_of

GROUPS = {"data", "evaluator", "features", "callbacks", "logger"}  # groups whose options name paths
KNOWN = {package.split(".")[0] for package in (*OWN_PACKAGES, *TRAINING)}  # packages whose classes need no note
UNNEEDED = ("save", "weights")  # paths that a part can do without
NOWHERE = "/dev/null/left-out"  # stands for a path that the user must give; no file can exist there


def remember(config: Mapping[str, Any]) -> None:
    """Notes in the cache what the user trains with: parts that name paths, and calls of classes that are not ours.

    Where the cache cannot be written, the user must give the paths and trusted= again later.
    """
    theirs = [call for call in calls_in(config) if str(call["_target_"]).split(".")[0] not in KNOWN]
    for file in map(note_of, [*(config[group] for group in GROUPS), *theirs]):
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def without_foreign_paths(
    group: str, node: Any, *, inside: Path | None = None, noted: Any = None
) -> tuple[Any, list[str]]:
    """A part of a file's config, and the paths and URLs that were left out of it, as "data.path=x".

    Nothing is left out of a part that this user has trained with (`noted`: the part before the run was moved), and no
    path within the run directory `inside`. Our own datasets get the paths and URLs of their option instead.
    """
    if note_of(node if noted is None else noted).exists():
        return node, []
    left: list[str] = []
    return _without_places(node, group, inside, left), left


def _without_places(node: Any, at: str, inside: Path | None, left: list[str]) -> Any:
    if isinstance(node, list):
        return [_without_places(value, f"{at}.{i}", inside, left) for i, value in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    made = {}
    for key, value in node.items():
        here = f"{at}.{key}"
        if not _names_place(key, value, inside):
            made[key] = _without_places(value, here, inside, left)
            continue
        made[key] = _ours(node, key)
        if made[key] != value:
            left.append(f"{here}={value}")
    return made


def _names_place(key: str, value: Any, inside: Path | None) -> bool:
    if key == "urls":
        return bool(value)
    if key == "folder":  # a name within another path
        return Path(str(value)).name != value
    within = inside is not None and isinstance(value, str) and Path(value).resolve().is_relative_to(inside.resolve())
    return key in PLACES and value is not None and not within


def _ours(node: Mapping[str, Any], key: str) -> Any:
    """The path or URLs that our own option for this dataset has; where it has none, a value that means none."""
    option = _option(str(node.get("name")))
    if option.get("_target_") == node.get("_target_") and option.get(key, "???") != "???":
        own = OmegaConf.to_container(OmegaConf.create({key: option[key]}), resolve=True)
        return str(Path(own[key]).expanduser().absolute()) if key == "root" else own[key]  # type: ignore[index,call-overload]
    return [] if key == "urls" else None if key in UNNEEDED else NOWHERE


def _option(name: str) -> dict[str, Any]:
    """The unresolved YAML of a dataset; {} where no dataset has that name."""
    file = next((file for file in (CONFIGS / "data").glob("*.yaml") if file.stem == name), None)
    return {} if file is None else cast(dict, OmegaConf.to_container(OmegaConf.load(file), resolve=False))


def require_given(node: Any, at: str) -> None:
    """UserError where a path was left out that the user must give."""
    if isinstance(node, Mapping | list):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            require_given(value, f"{at}.{key}")
    elif node == NOWHERE:
        raise UserError(f"{at} in the file is a path, which was left out; give your own: {at}=PATH")


def print_left_out(left: list[str], file: Path) -> None:
    """Prints which paths and URLs of a file were left out, if any."""
    from genmodels.console import console
    from genmodels.rank import is_rank_zero

    if left and is_rank_zero():
        what = f"left out, since {file} was not made by you on this machine: {', '.join(left)}"
        console.print(what, soft_wrap=True, highlight=False, markup=False)
