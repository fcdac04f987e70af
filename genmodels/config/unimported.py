"""Keys of a constructor and types of their values without importing its module, and torch with it."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from genmodels import ranges
from genmodels.config.constructors import keys_of, parameters
from genmodels.config.libraries import OPTIMIZER, TRAINER

PLAIN = (int, float, bool, str, list, tuple, Sequence, Mapping)
NAMES = {**vars(ranges), **{kind.__name__: kind for kind in PLAIN}, "Literal": Literal}


TRAINERS = "pytorch_lightning.Trainer"


def keys_in(target: str) -> tuple[str, ...] | None:
    """All keys of the class or function that `_target_` names; None where they are unknown."""
    if target == TRAINERS:
        return keys_of("pytorch_lightning.trainer.trainer.Trainer")
    if target.startswith("torch.optim."):  # each in the module of its name
        name = target.rpartition(".")[2]
        return keys_of(f"torch.optim.{name.lower()}.{name}")
    return keys_of(target) if target.startswith("genmodels.") else None


def types_in(target: str) -> dict[str, Any]:
    """The types of the keys of `_target_`, as far as its file writes them with only the names in `NAMES`."""
    if target == TRAINERS:
        return TRAINER
    if target.startswith("torch.optim."):
        return OPTIMIZER
    found = parameters(target) if target.startswith("genmodels.") else {}
    return {key: hint for key, parameter in found.items() if (hint := _read(parameter.annotation)) is not None}


def _read(hint: ast.expr | None) -> Any:
    """The type of an annotation, which is parsed and not run; None where it has other names."""
    try:
        return None if hint is None else _type(hint)
    except (KeyError, TypeError):
        return None


def _type(hint: ast.expr) -> Any:
    match hint:
        case ast.Name(id=name):
            return NAMES[name]
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=parts):
            return tuple(map(_type, parts))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=outer, slice=inner):
            return _type(outer)[_type(inner)]
        case ast.Call(func=bound, args=[value]):
            return _type(bound)(_type(value))
    raise KeyError(ast.unparse(hint))
