"""--config-dir, a folder of the user's own configs, for commands that Hydra does not run."""

from collections.abc import Sequence
from pathlib import Path

from genmodels.errors import UserError

FLAGS = ("--config-dir", "-cd")


def config_dir(argv: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The folder that the flag names, if it is given, and the other words. UserError where it is not a folder."""
    folder, others, words = None, [], iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in FLAGS:
            folder = _folder(flag, value if equals else next(words, ""))
        else:
            others.append(word)
    return folder, others


def _folder(flag: str, text: str) -> Path:
    folder = Path(text).expanduser()
    if not text or not folder.is_dir():
        raise UserError(f"{flag} {text} is not a folder; give the one that contains your GROUP/NAME.yaml")
    return folder
