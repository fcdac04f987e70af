"""Paths on the command line are taken as they are, whatever characters they have; `~` is a home directory.

Hydra's grammar gives a meaning to many characters that names of files may have, such as `=`, `,`, `#` and brackets, and
a shell expands no `~` that comes after `=`.
"""

from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from genmodels.errors import UserError

KEYS = ("resume", "run", "checkpoint", "out", "samples", "reference", "condition", "images", "run_dir", "--config-dir")
LAST = ("root", "path", "test_path", "weights", "save", "run", "dir", "dirpath")  # of keys within keys
LONGEST = 255  # bytes of a name, on nearly every file system


def with_paths_quoted(argv: list[str]) -> list[str]:
    """The words of a command line with their paths in full, and in quotes where Hydra would read something else."""
    swept = bool({"-m", "--multirun"} & set(argv))
    return [_with_path_quoted(word, swept) for word in argv]


def _with_path_quoted(word: str, swept: bool) -> str:
    key, equals, text = word.partition("=")
    if not equals or not _is_of_path(key) or text == "null" or (swept and _is_swept(word)):
        return word
    path = path_given(key, text)
    plain = key == "--config-dir" or _value(_read(f"{key}={path}")) == path
    return f"{key}={path}" if plain else f"{key}={quoted(path)}"


def _is_of_path(key: str) -> bool:
    name = key.lstrip("+")
    return name in KEYS or ("." in name and name.split(".")[-1] in LAST)


def path_given(key: str, text: str) -> str:
    """The path that a word of the command line gives, without the quotes that Hydra would take off.

    Raises:
        UserError: it has a name that is too long, or begins with the home of a user that there is not.
    """
    unquoted = _value(_read(f"{key}={text}")) if text[:1] in ("'", '"') else None
    path = text if unquoted is None else str(unquoted)
    try:
        path = str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise UserError(f"{key}={text}: there is no home of {path.split('/')[0]}; write the folder in full") from error
    if longest := next((name for name in path.split("/") if len(name.encode()) > LONGEST and "${" not in path), None):
        raise UserError(
            f"{key} has a name of {len(longest.encode())} bytes, {longest[:20]}..., expected at most {LONGEST}; "
            "choose a shorter one"
        )
    return path


def quoted(text: str) -> str:
    """A text as Hydra's grammar takes it, whatever characters it has."""
    return QuotedString(text, Quote.single).with_quotes()


def _read(word: str) -> Override | None:
    """What Hydra reads in a word; None where it cannot."""
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _is_swept(word: str) -> bool:
    """Whether Hydra reads several values in a word, each for a job of its own."""
    override = _read(word)
    return override is not None and override.is_sweep_override()


def _value(override: Override | None) -> Any:
    return override.value() if override and not override.is_sweep_override() else None
