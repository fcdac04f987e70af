"""Where the configs are, beside the package in a checkout, inside it when installed; and their descriptions."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
CONFIGS = _PACKAGE / "configs" if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent / "configs"


def description(file: Path) -> str:
    """The first comment line that is not a Hydra directive."""
    comments = (line[1:].strip() for line in file.read_text().splitlines() if line.startswith("#"))
    return next((line for line in comments if line and not line.startswith("@package")), "")
