"""Types of a constructor's parameters without importing its module: a value is refused before torch is imported."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from genmodels import ranges
from genmodels.cli.config.constructors import parameters
from genmodels.cli.config.libraries import OPTIMIZER, TRAINER

NAMES = {**vars(ranges), "Sequence": Sequence, "Mapping": Mapping, "Literal": Literal}


def types_in(target: str) -> dict[str, Any]:
    """Of what `_target_` names, those types that its file says with the names of `NAMES` alone."""
    if target == "pytorch_lightning.Trainer":
        return TRAINER
    if target.startswith("torch.optim."):
        return OPTIMIZER
    found = parameters(target) if target.startswith("genmodels.") else {}
    return {key: hint for key, parameter in found.items() if (hint := _read(parameter.annotation)) is not None}


def _read(annotation: ast.expr | None) -> Any:
    """The type, None where it has other names."""
    try:
        return None if annotation is None else eval(ast.unparse(annotation), dict(NAMES))
    except (NameError, TypeError):
        return None
