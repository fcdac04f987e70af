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


class Source(NamedTuple):
    """Where a class or a function is written."""

    found: ast.ClassDef | ast.FunctionDef
    tree: ast.Module
    module: str
    lines: list[str]


@cache
def parameters(name: str) -> dict[str, Parameter]:
    """The parameters of a class or function, with those of its base classes; none where there is no source."""
    source = _source(name)
    if source is None:
        return {}
    every: dict[str, Parameter] = {}
    for base in _bases(source):
        every |= parameters(base)
    above = {key: parameter.comment for key, parameter in every.items()}
    for key, hint, line in _declared(source.found):
        every[key] = Parameter(hint, _comment(source.lines[line - 1]) or above.get(key, ""))
    return every


@cache
def keys_of(name: str) -> tuple[str, ...] | None:
    """The keyword arguments of a class or function; None where the source does not tell, or it accepts any."""
    source = _source(name)
    if source is None:
        return None
    if (made := _made_by(source.found)) is not None:
        names = tuple(name for name, *_ in _declared(made) if name != "self")
        return None if made.args.kwarg else names
    above = [keys_of(base) for base in _bases(source) if base != "abc.ABC"]
    if None in above or not all(isinstance(base, ast.Name) for base in getattr(source.found, "bases", [])):
        return None
    own = [name for name, *_ in _declared(source.found)]
    return tuple(dict.fromkeys([*(key for keys in above for key in keys or ()), *own]))


def _source(name: str) -> Source | None:
    module, _, own = name.rpartition(".")
    file = _file_of(module) if module else None
    if file is None:
        return None
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    found = next((n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == own), None)
    return None if found is None else Source(found, tree, module, text.splitlines())


def _file_of(module: str) -> Path | None:
    """The source file of a module, found without importing its package."""
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin) if not rest else Path(spec.origin).parent.joinpath(*rest).with_suffix(".py")
    return file if file.is_file() else None


def _bases(source: Source) -> list[str]:
    """Full names of the base classes of a class."""
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in source.tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bases = [base.id for base in getattr(source.found, "bases", []) if isinstance(base, ast.Name)]
    return [imported.get(base, f"{source.module}.{base}") for base in bases]


def _made_by(found: ast.ClassDef | ast.FunctionDef) -> ast.FunctionDef | None:
    """The function itself, or the constructor that a class defines, if any."""
    if isinstance(found, ast.FunctionDef):
        return found
    return next((n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)


def _declared(found: ast.ClassDef | ast.FunctionDef) -> Iterator[tuple[str, ast.expr | None, int]]:
    """Name, annotation and line of the parameters of a function or constructor or, without one, of a class's fields."""
    made = _made_by(found)
    for argument in (*made.args.args, *made.args.kwonlyargs) if made else ():
        yield argument.arg, argument.annotation, argument.end_lineno or argument.lineno
    for node in [] if made else found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation, node.lineno


def _comment(line: str) -> str:
    return line.partition("  # ")[2].strip()
