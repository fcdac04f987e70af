"""Pages from templates, which lie in assets/ beside what else the pages are made of."""

from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent / "assets"


def rendered(name: str, filters: dict[str, Any], **given: Any) -> str:
    """The template with what it is given; in HTML all of that is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment.get_template(name).render(given)
