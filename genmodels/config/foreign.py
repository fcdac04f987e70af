"""Places and addresses in a config that came in a file: taken where this person has trained with them, else left out.

A file that somebody else made may name options, numbers and hashes. Where files are read and written, and from which
addresses they are fetched, is for the person to say; what they trained with before is remembered in their own cache.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from genmodels.config.paths import LAST as PLACES
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError
from genmodels.run.trust import OURS, TRAINING, calls_in, note_of

GROUPS = {"data", "evaluator", "features", "callbacks", "logger"}  # groups whose options name places
KNOWN = {package.split(".")[0] for package in (*OURS, *TRAINING)}  # packages whose classes need no note
UNNEEDED = ("save", "weights")  # places without which a part works
NOWHERE = "/dev/null/left-out"  # in place of one that has to be given; nothing can lie there


def remember(config: Mapping[str, Any]) -> None:
    """Notes what a person trains with: parts that name places, and calls of classes that are not ours.

    Where nothing can be noted, they give the places, and say trusted=, again.
    """
    theirs = [call for call in calls_in(config) if str(call["_target_"]).split(".")[0] not in KNOWN]
    for file in map(note_of, [*(config[group] for group in GROUPS), *theirs]):
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def believed(group: str, node: Any, *, inside: Path | None = None, noted: Any = None) -> tuple[Any, list[str]]:
    """A part of a file's config, and the places and addresses that were left out of it, as "data.path=x".

    Nothing is left out of what this person has trained with (`noted`, where the run was moved since), nor what lies in
    the run directory `inside`. A dataset of ours gets the places and addresses of its own option.
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
    if key == "folder":  # a name within another place
        return Path(str(value)).name != value
    within = inside is not None and isinstance(value, str) and Path(value).resolve().is_relative_to(inside.resolve())
    return key in PLACES and value is not None and not within


def _ours(node: Mapping[str, Any], key: str) -> Any:
    """What our own option for this dataset has for a place or for addresses; else what stands for none."""
    option = _option(str(node.get("name")))
    if option.get("_target_") == node.get("_target_") and option.get(key, "???") != "???":
        own = OmegaConf.to_container(OmegaConf.create({key: option[key]}), resolve=True)
        return str(Path(own[key]).expanduser().absolute()) if key == "root" else own[key]  # type: ignore[index,call-overload]
    return [] if key == "urls" else None if key in UNNEEDED else NOWHERE


def _option(name: str) -> dict[str, Any]:
    """The YAML of a dataset, not resolved; empty where there is none of that name."""
    file = next((file for file in (CONFIGS / "data").glob("*.yaml") if file.stem == name), None)
    return {} if file is None else cast(dict, OmegaConf.to_container(OmegaConf.load(file), resolve=False))


def require_given(node: Any, at: str) -> None:
    """UserError where a place was left out that a person has to give."""
    if isinstance(node, Mapping | list):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            require_given(value, f"{at}.{key}")
    elif node == NOWHERE:
        raise UserError(f"{at} came with the file and names a place, so that it was left out; give your own: {at}=PATH")


def say_left_out(left: list[str], file: Path) -> None:
    """Says which places and addresses of a file were left out, if there are any."""
    from genmodels.console import console
    from genmodels.rank import is_rank_zero

    if left and is_rank_zero():
        what = f"left out, since {file} was not made by you on this machine: {', '.join(left)}"
        console.print(what, soft_wrap=True, highlight=False, markup=False)
