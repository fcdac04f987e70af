"""--config-dir of commands whose words Hydra does not compose: a folder of a person's own configs."""

from collections.abc import Sequence
from pathlib import Path

from genmodels.errors import UserError

FLAGS = ("--config-dir", "-cd")


def config_dir(argv: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The folder that the flag names, if it stands there, and the other words. UserError where it is no folder."""
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
        raise UserError(f"{flag} {text} is no folder; give the one that your GROUP/NAME.yaml lies in")
    return folder
