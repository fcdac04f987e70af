"""Types of a constructor's parameters without importing its module: a value is refused before torch is imported."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import genmodels
from genmodels import ranges
from genmodels.cli.config.libraries import OPTIMIZER, TRAINER

NAMES = {**vars(ranges), "Sequence": Sequence, "Mapping": Mapping, "Literal": Literal}


def types_in(target: str) -> dict[str, Any]:
    """Of what `_target_` names, those types that its file says with the names of `NAMES` alone."""
    if target == "pytorch_lightning.Trainer":
        return TRAINER
    if target.startswith("torch.optim."):
        return OPTIMIZER
    module, _, name = target.partition("genmodels.")[2].rpartition(".")
    file = Path(genmodels.__file__).parent / f"{module.replace('.', '/')}.py"
    body = ast.parse(file.read_text(encoding="utf-8")).body if module and file.is_file() else []
    found = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == name), None)
    return {key: hint for key, annotation in _annotations(found) if (hint := _read(annotation)) is not None}


def _annotations(found: ast.ClassDef | None) -> Iterator[tuple[str, ast.expr | None]]:
    """Parameters of a class's own constructor; of a dataclass its fields."""
    for node in found.body if found else []:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            yield from ((argument.arg, argument.annotation) for argument in node.args.kwonlyargs)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation


def _read(annotation: ast.expr | None) -> Any:
    """The type, None where it has other names."""
    try:
        return None if annotation is None else eval(ast.unparse(annotation), dict(NAMES))
    except (NameError, TypeError):
        return None
