"""Types of a constructor's parameters without importing its module: a value is refused before torch is imported."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from genmodels import ranges
from genmodels.config.constructors import parameters
from genmodels.config.libraries import OPTIMIZER, TRAINER

PLAIN = (int, float, bool, str, list, tuple, Sequence, Mapping)
NAMES = {**vars(ranges), **{kind.__name__: kind for kind in PLAIN}, "Literal": Literal}


def types_in(target: str) -> dict[str, Any]:
    """Of what `_target_` names, those types that its file says with the names of `NAMES` alone."""
    if target == "pytorch_lightning.Trainer":
        return TRAINER
    if target.startswith("torch.optim."):
        return OPTIMIZER
    found = parameters(target) if target.startswith("genmodels.") else {}
    return {key: hint for key, parameter in found.items() if (hint := _read(parameter.annotation)) is not None}


def _read(hint: ast.expr | None) -> Any:
    """The type that an annotation stands for, which is read and not run; None where it has other names."""
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
