"""Checks a composed config before anything runs: every mapping is a call, so its keys must fit a signature.

A mapping with `_target_` calls that class; the root calls the schema dataclass of its command. Hydra checks what is
written on the command line; this checks what is written anywhere.

No library checks the types: pydantic accepts true for Literal[1], refuses a YAML's list for a tuple, and accepts
numbers within Any that are not finite; beartype checks only one entry of a list, and accepts true for an integer. Each
of them would also add 0.15 s to every command.
"""

import inspect
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from operator import ge, gt, le, lt
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from genmodels.config import schema as schemas
from genmodels.config.libraries import INSTEAD, TRAINER, is_trainer, types_of
from genmodels.config.messages import suggestion
from genmodels.config.schema import Parts
from genmodels.config.shipped import CONFIGS
from genmodels.config.unimported import TRAINERS, keys_in, types_in
from genmodels.errors import UserError
from genmodels.failures import one_line

PLAIN = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    types.NoneType: "null",
    Any: "a finite number",
}
CONTINUOUS = (
    "data.levels is null, which says that the data are continuous, and the model takes integers, such as pixels; "
    "choose a model of points, such as model=realnvp_points, or data with levels"
)
BOUNDS = {Ge: (ge, "of at least"), Gt: (gt, "above"), Le: (le, "at most"), Lt: (lt, "below")}
NOT_EMPTY = ("run_dir", "out", "run", "checkpoint", "samples", "reference")
HYDRAS_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_"}


Problems = Iterator[tuple[str, str]]  # path, what is wrong with it


def check(config: Mapping[str, Any], schema: type, where: Any = lambda path: "") -> None:
    """Raises a UserError that names what is wrong; `where(path)` says where a key was set.

    First what can be checked without importing the called classes, and torch with them; then the rest.
    """
    _refuse(_explained(config, _before_imports(config, Known.of(schema), "")), where)
    _refuse(_explained(config, _check_call(config, schema, "")), where)


def _refuse(problems: Problems, where: Any) -> None:
    wrong = {problem: where(path) for path, problem in problems}
    if wrong:
        written = any(wrong.values())  # keys that only repeat another key's value, by an interpolation, are left out
        raise UserError("; ".join(problem + place for problem, place in wrong.items() if place or not written))


def _explained(config: Mapping[str, Any], problems: Problems) -> Problems:
    """The sentence; if a model lacks `levels` because the data have none, in terms of the data."""
    data = config.get("data")
    continuous = isinstance(data, Mapping) and data.get("levels", 0) is None
    for path, problem in problems:
        missed = continuous and path.startswith("model.") and path.endswith(".levels")
        yield ("data.levels", CONTINUOUS) if missed else (path, problem)


class Known(NamedTuple):
    """What is known about a mapping without an import."""

    keys: Sequence[str] | None  # its possible keys; None: any
    types: Mapping[str, Any]  # types of some of their values
    trainer: bool = False

    @classmethod
    def of(cls, schema: type) -> "Known":
        return cls([*inspect.signature(schema).parameters], _hints(schema))

    @classmethod
    def within(cls, node: Mapping[str, Any], hint: Any) -> "Known":
        """Of a call it is what its parameters say, else what the hint does."""
        if "_target_" in node:
            target = str(node["_target_"])
            return cls(keys_in(target), types_in(target), target == TRAINERS)
        if schema := _schema_in(hint):
            return cls.of(schema)
        return cls(None, dict.fromkeys(node, get_args(hint)[1]) if get_origin(hint) is Mapping else {})


def _before_imports(node: Mapping[str, Any], known: Known, path: str) -> Problems:
    """Unknown keys, and values of wrong types, as far as they can be found without an import."""
    for key, value in node.items():
        here = f"{path}.{key}" if path else key
        if problem := _no_key(key, known.keys, here, known.trainer):
            yield here, problem
        elif isinstance(value, Mapping):
            hint = known.types.get(key)
            yield from _unknown_parts(value, here) if hint == Parts else ()
            yield from _before_imports(value, Known.within(value, hint), here)
        elif key in known.types and not _fits(value, known.types[key]):
            yield here, _misfit(value, known.types[key], here)


def _no_key(key: str, keys: Sequence[str] | None, here: str, trainer: bool) -> str | None:
    """What is wrong with the key itself, in a call or mapping that accepts `keys` (None: any)."""
    if key in HYDRAS_KEYS or keys is None:
        return None
    if key not in keys:
        return f"there is no key {here}; {suggestion(key, sorted(keys))}"
    if trainer and key not in TRAINER:
        why = INSTEAD.get(key, f"it follows {', '.join(TRAINER)}")
        return f"{here} is a setting of Lightning that has no effect here; {why}"
    return None


def _misfit(value: Any, hint: Any, path: str) -> str:
    return f"{path} is {'null' if value is None else repr(value)}, expected {_words(hint)}"


def _check_call(node: Mapping[str, Any], function: Any, path: str) -> Problems:
    """Whether the keys and values of `node` can be the arguments of `function`."""
    parameters = inspect.signature(function).parameters
    hints = _hints(function)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    keys = None if takes_any else [name for name in parameters if name != "self"]
    for key, value in node.items():
        here = f"{path}.{key}" if path else key
        if problem := _no_key(key, keys, here, is_trainer(function)):
            yield here, problem
        elif key in parameters:
            yield from _check_value(value, hints.get(key, Any), here)
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind is parameter.KEYWORD_ONLY
        if required and name not in node and not node.get("_partial_"):
            yield path, f"{path}.{name} is not given" if path else f"{name} is not given"


def _hints(function: Any) -> dict[str, Any]:
    try:
        hints = get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    except Exception:  # annotations that only a type checker can read: the values cannot be checked
        hints = {}
    return {**hints, **types_of(function)}


def _check_value(value: Any, hint: Any, path: str) -> Problems:
    if isinstance(value, Mapping) and "_target_" in value:
        yield from _check_target(value, path)
    elif isinstance(value, Mapping) and (schema := _schema_in(hint)):
        yield from _check_call(value, schema, path)
    elif not _fits(value, hint):
        yield path, _misfit(value, hint, path)
    elif path in NOT_EMPTY and value == "":
        yield path, f"{path} is empty, expected a path"
    elif hint == Parts:
        yield from _check_parts(value, path)
    elif isinstance(value, Mapping):
        inner = get_args(hint)[1] if get_origin(hint) is Mapping else Any
        for key, child in value.items():
            yield from _check_value(child, inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            if hint is Any or isinstance(child, Mapping):
                yield from _check_value(child, Any, f"{path}.{index}")


def _schema_in(hint: Any) -> type | None:
    """The schema dataclass in a type hint, alone or beside None."""
    classes = [kind for kind in (hint, *get_args(hint)) if inspect.isclass(kind)]
    return next((kind for kind in classes if kind.__module__ == schemas.__name__), None)


def chosen(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The chosen parts of a group: an experiment may have settings for a part that the command line left out."""
    return {name: node for name, node in parts.items() if "_target_" in node}


def _check_parts(parts: Mapping[str, Any], group: str) -> Problems:
    for name, node in chosen(parts).items():
        yield from _check_target(node, f"{group}.{name}")


def _unknown_parts(parts: Mapping[str, Any], group: str) -> Problems:
    """Parts that were not chosen and have no option of their name."""
    known = [file.stem for file in (CONFIGS / group).glob("*.yaml")]
    for name in parts.keys() - chosen(parts).keys() - {*known}:
        yield f"{group}.{name}", f"there is no key {group}.{name}; {suggestion(name, known)}"


def _check_target(node: Mapping[str, Any], path: str) -> Problems:
    try:
        function = resolve_name(node["_target_"])
    except Exception as error:  # anything that the user's own module may raise
        why = f"{type(error).__name__}: {one_line(str(error))}"
        yield f"{path}._target_", f"{path}._target_ is {node['_target_']!r}, not a class that can be imported ({why})"
        return
    if not callable(function):
        yield f"{path}._target_", f"{path}._target_ is {node['_target_']!r}, which is not a class"
        return
    yield from _check_call(node, function, path)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value from a YAML can be an argument annotated with `hint`."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return not isinstance(value, float) or math.isfinite(value)
    if origin is Annotated:
        fits = _fits(value, args[0]) or (value == math.inf and Le(math.inf) in args)
        return fits and all(BOUNDS[type(bound)][0](value, *astuple(bound)) for bound in args[1:])
    if origin in (Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if isinstance(value, list | tuple):
        return _fits_sequence(value, origin or hint, args)
    if isinstance(value, Mapping):
        return inspect.isclass(origin or hint) and issubclass(dict, origin or hint)
    return type(value) is hint or (value is None and hint is None)


def _fits_sequence(value: Sequence[Any], kind: Any, args: tuple) -> bool:
    if not (inspect.isclass(kind) and issubclass(kind, Sequence) and kind is not str):
        return False
    hints = [arg for arg in args if arg is not Ellipsis]
    if kind is tuple and len(hints) > 1 and Ellipsis not in args:
        return len(hints) == len(value) and all(map(_fits, value, hints))
    return not hints or all(_fits(entry, hints[0]) for entry in value)


def _words(hint: Any) -> str:
    """A type in words for the user."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        plain = [arg for arg in args if arg in PLAIN or get_origin(arg) is not None]
        return " or ".join(_words(arg) for arg in plain or args)
    if origin is Annotated:
        limits = [(BOUNDS[type(bound)][1], *astuple(bound)) for bound in args[1:]]
        bounds = " and ".join(f"{word} {limit}" for word, limit in limits if math.isfinite(limit))
        return f"{_words(args[0])} {bounds}".strip()
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if hint in PLAIN:
        return PLAIN[hint]
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return f"a list, each {_words(args[0])}" if args else "a list"
    return f"a part with _target_ (a {getattr(hint, '__name__', hint)})"
