"""Takes paths on the command line literally, whatever characters they contain; `~` is a home directory.

Hydra's grammar gives a meaning to many characters that are valid in file names, such as `=`, `,`, `#` and brackets, and
a shell does not expand a `~` after `=`.
"""

from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from genmodels.config.roles import PATHS
from genmodels.errors import UserError

KEYS = ("resume", "run", "checkpoint", "out", "samples", "reference", "condition", "images", "run_dir", "--config-dir")
LAST = (*PATHS, "weights", "save")  # last words of nested keys that name a path
MAX_NAME_BYTES = 255  # bytes of a file name, on nearly every file system


def with_paths_quoted(argv: list[str]) -> list[str]:
    """The words of a command line with `~` expanded in paths, and quoted where Hydra would parse them differently."""
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
    """The path in a word of the command line, without the quotes that Hydra would remove.

    Raises:
        UserError: a name in it is too long, or it begins with the home directory of an unknown user.
    """
    unquoted = _value(_read(f"{key}={text}")) if text[:1] in ("'", '"') else None
    path = text if unquoted is None else str(unquoted)
    try:
        path = str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise UserError(
            f"{key}={text}: {path.split('/')[0]} has no home directory; write the folder in full"
        ) from error
    if longest := next(
        (name for name in path.split("/") if len(name.encode()) > MAX_NAME_BYTES and "${" not in path), None
    ):
        raise UserError(
            f"{key} has a name of {len(longest.encode())} bytes, {longest[:20]}..., expected at most {MAX_NAME_BYTES}; "
            "choose a shorter one"
        )
    return path


def quoted(text: str) -> str:
    """A text quoted for Hydra's grammar, whatever characters it contains."""
    return QuotedString(text, Quote.single).with_quotes()


def _read(word: str) -> Override | None:
    """A word as Hydra parses it; None where Hydra cannot."""
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _is_swept(word: str) -> bool:
    """Whether Hydra parses a word as several values, one for each job."""
    override = _read(word)
    return override is not None and override.is_sweep_override()


def _value(override: Override | None) -> Any:
    return override.value() if override and not override.is_sweep_override() else None
