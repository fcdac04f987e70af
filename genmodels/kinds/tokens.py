"""Sequences of tokens: text where they stand for characters, else numbers; saved as .txt, .npz, or a folder."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from jaxtyping import Integer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genmodels.capabilities import NO_CONDITION, Condition
from genmodels.disk.atomic import replacing
from genmodels.fields import Field
from genmodels.kinds.base import Format, NamedSamples, SideBySide

SEPARATOR = "\n" + 40 * "-" + "\n"  # two samples
SAMPLES_SHOWN = 6  # samples in a picture
WIDTH = 100  # characters of a line in a picture
LETTER_SIZE, MARGIN = 13, 12  # of the letters, of the picture's border in pixels
BLACK, WHITE = 0, 255


class Tokens(SideBySide):
    """Integers (l,), one for each token."""

    of: Field
    file = "samples.txt"

    def read(self, sample: Integer[Tensor, " l"]) -> str:
        """One sample as text."""
        numbers = sample.flatten().tolist()
        if self.of.vocabulary is None:
            return " ".join(map(str, numbers))
        return "".join(self.of.vocabulary[number] for number in numbers)

    def text(self, x: Any) -> str:
        return SEPARATOR.join(map(self.read, x))

    def picture(self, x: Any, model: Any, condition: Condition = NO_CONDITION, data: Any = None) -> Image.Image:
        return text_picture(self.text(x[:SAMPLES_SHOWN]))

    def stacked(self, rows: Sequence[NamedSamples]) -> Image.Image:
        samples = zip(*(row.x[:SAMPLES_SHOWN] for row in rows), strict=True)
        named = (zip((row.name for row in rows), versions, strict=True) for versions in samples)
        return text_picture(SEPARATOR.join("\n".join(f"{name}:\n{self.read(x)}" for name, x in each) for each in named))

    def formats(self, model: Any) -> dict[str, Format]:
        txt = Format("a text", lambda x, given, out: save_text(self.text(x), out))
        return {".txt": txt, **super().formats(model), "": Format("a folder of texts", self.write_files)}

    def write_files(self, x: Any, condition: Condition, out: Path) -> None:
        """Writes one file for each sample."""
        out.mkdir(exist_ok=True)
        for index, sample in enumerate(x):
            save_text(self.read(sample), out / f"{index:06}.txt")


def save_text(text: str, out: Path) -> None:
    """Writes a text, whole or not at all."""
    with replacing(out) as file:
        file.write(text.encode())


def text_picture(text: str) -> Image.Image:
    """A text as a picture; long lines are wrapped."""
    lines = [part for line in text.split("\n") for part in (wrap(line, WIDTH, drop_whitespace=False) or [""])]
    font, shown = ImageFont.load_default(LETTER_SIZE), "\n".join(lines)
    _, _, width, height = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((MARGIN, MARGIN), shown, font=font)
    picture = Image.new("L", (int(width) + MARGIN, int(height) + MARGIN), WHITE)
    ImageDraw.Draw(picture).multiline_text((MARGIN, MARGIN), shown, fill=BLACK, font=font)
    return picture
