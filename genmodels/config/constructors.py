"""Types and comments of a constructor's parameters, read from the source: importing the class would import torch."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Parameter(NamedTuple):
    """A parameter as the source states it."""

    annotation: ast.expr | None
    comment: str  # on its line; "": none


@cache
def parameters(name: str) -> dict[str, Parameter]:
    """The parameters of a class or function, with those of its base classes; {} where the source is not found."""
    module, _, own = name.rpartition(".")
    file = _file_of(module) if module else None
    if file is None:
        return {}
    text = file.read_text(encoding="utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    found = next((n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == own), None)
    if found is None:
        return {}
    every: dict[str, Parameter] = {}
    for base in _bases(found, tree, module):
        every |= parameters(base)
    above = {key: parameter.comment for key, parameter in every.items()}
    for key, hint, line in _declared(found):
        every[key] = Parameter(hint, _comment(lines[line - 1]) or above.get(key, ""))
    return every


def _file_of(module: str) -> Path | None:
    """The source file of a module, found without importing its package."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin) if not rest else Path(spec.origin).parent.joinpath(*rest).with_suffix(".py")
    return file if file.is_file() else None


def _bases(found: ast.stmt, tree: ast.Module, module: str) -> list[str]:
    """Full names of a class's base classes."""
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bases = [base.id for base in getattr(found, "bases", []) if isinstance(base, ast.Name)]
    return [imported.get(base, f"{module}.{base}") for base in bases]


def _declared(found: ast.ClassDef | ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None, int]]:
    """Name, annotation and line of a function's or constructor's parameters; without a constructor, of the fields."""
    if isinstance(found, ast.FunctionDef):
        for argument in (*found.args.args, *found.args.kwonlyargs):
            yield argument.arg, argument.annotation, argument.end_lineno or argument.lineno
        return
    made = next((n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if made is not None:
        yield from _declared(made)
        return
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation, node.lineno


def _comment(line: str) -> str:
    return line.partition("  # ")[2].strip()
