"""What README and docs/ hold: commands by block, files that are named before their text, code, links."""

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.(?:py|yaml))`[^`\n]*:\n\n```(?:python|yaml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SETTING = "PYTHONPATH=. "

Command = tuple[str, ...]  # the words after "genmodels"


@dataclass(frozen=True)
class Page:
    """A page of Markdown."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    def blocks(self, kind: str) -> list[str]:
        """Blocks of code of a language."""
        return [text for found, text in FENCE.findall(self.text) if found == kind]

    @property
    def files(self) -> dict[str, str]:
        """The files whose names stand before their text: `mine.py`, and so on."""
        return dict(NAMED.findall(self.text))

    @property
    def lines(self) -> list[str]:
        """The lines of all blocks of shell commands, without comments."""
        every = (line.strip() for block in self.blocks("bash") for line in block.splitlines())
        return [line for line in every if line and not line.startswith("#")]

    @property
    def stories(self) -> list[list[Command]]:
        """The commands of each block, which may go on with what one before it has made."""
        return [found for block in self.blocks("bash") if (found := commands(block))]

    @property
    def anchors(self) -> set[str]:
        """What a link to a heading of this page ends in, as GitHub makes it."""
        prose = FENCE.sub("", self.text)
        headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    @property
    def links(self) -> list[str]:
        """Where the page links to within the repository: path#anchor."""
        return [link for link in LINK.findall(FENCE.sub("", self.text)) if "://" not in link]


def commands(block: str) -> list[Command]:
    lines = (line.removeprefix(SETTING) for line in block.splitlines())
    return [tuple(shlex.split(line, comments=True)[1:]) for line in lines if line.startswith("genmodels ")]


README = Page(ROOT / "README.md")
PAGES = [README, *(Page(path) for path in sorted((ROOT / "docs").glob("*.md")) if path.stem != "BASELINES")]


def stories() -> list[tuple[Page, list[Command]]]:
    """Every block of commands, those left out that stood in one before and make nothing for the next."""
    told: set[Command] = set()
    found = []
    for page in PAGES:
        for story in page.stories:
            places = any(word.startswith(("hydra.run.dir=", "hydra.sweep.dir=")) for words in story for word in words)
            new = [words for words in story if places or words not in told]
            told |= set(story)
            if new:
                found.append((page, new))
    return found
