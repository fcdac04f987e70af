"""What a person does with samples of one kind: look at them, read them, keep them.

A kind is one file in this folder and one line in `genmodels/kinds/__init__.py`. Samples come on the CPU and in data
units.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from PIL import Image

from genmodels.capabilities import NO_CONDITION, Batch, Condition, Moment
from genmodels.disk.atomic import replacing, require_writable
from genmodels.errors import UserError
from genmodels.fields import Field, Fields
from genmodels.trees import tensors


class NamedSamples(NamedTuple):
    """A batch and what it is, to stand beside others."""

    name: str  # in the caption: "data", "sample", or that of a condition
    x: Any  # (n, *field.shape)
    field: Field


class Format(NamedTuple):
    """A way to keep samples."""

    what: str  # is written, such as "a grid"
    write: Callable[[Any, Condition, Path], None]  # samples and what each was conditioned on


class Kind:
    """Samples as files. By itself it keeps arrays, of one tensor or several."""

    file: ClassVar[str] = "samples.npz"  # where samples go unless the person says

    def __init__(self, of: Field | Fields):
        self.of = of

    @classmethod
    def suits(cls, field: Field) -> bool:
        """Whether it can do what it says with samples of this field."""
        return True

    def text(self, x: Batch) -> str | None:
        """Samples that can be read; None: they cannot."""
        return None

    def arrays(self, x: Batch, condition: Condition) -> dict[str, np.ndarray]:
        """Samples and their conditions by the names that an .npz has them under."""
        values = {name or "x": values.numpy() for name, values in (*condition.items(), *tensors(x))}
        return values | levels_of(self.of)

    def formats(self, model: Any) -> dict[str, Format]:
        """How samples can be kept, by a file's ending; "" is a folder."""
        return {".npz": Format("arrays", lambda x, given, out: save_arrays(self.arrays(x, given), out))}

    def require_format(self, out: Path, model: Any) -> Format:
        """How samples are kept in this place; UserError where the ending is unknown, a folder is not empty, or
        nothing can be written there."""
        formats = self.formats(model)
        if out.suffix not in formats:
            known = ", ".join(f"{ending or 'no ending'} for {format_.what}" for ending, format_ in formats.items())
            raise UserError(f"out={out} has an unknown ending; use {known}")
        if not out.suffix and out.is_dir() and any(out.iterdir()):
            raise UserError(f"the folder {out} is not empty; choose another, so that no sample is overwritten")
        require_writable(out)
        return formats[out.suffix]

    def save(self, x: Batch, out: Path, model: Any, condition: Condition = NO_CONDITION) -> None:
        """Writes samples by the way that the ending of `out` names, and the folder that it lies in."""
        chosen = self.require_format(out, model)
        out.parent.mkdir(parents=True, exist_ok=True)
        chosen.write(x, condition, out)


class Pictured(Kind, ABC):
    """Samples that a person can look at."""

    dots: ClassVar[int] = 0  # samples in a picture, where each is a mere dot; 0: as many as a person wants to look at

    @abstractmethod
    def picture(
        self, x: Batch | None, model: Any, condition: Condition = NO_CONDITION, data: Batch | None = None
    ) -> Image.Image:
        """Samples (None: the model draws none) by what they are conditioned on, beside some of the data where they are
        given; and, where a kind has it, what else the model that drew them knows of them, such as a density."""


class SideBySide(Pictured):
    """Samples that can stand in one picture beside what they were made from, or what they became."""

    of: Field

    @abstractmethod
    def stacked(self, rows: Sequence[NamedSamples]) -> Image.Image:
        """The first of each of `rows` under each other, then the second, ..., with their names."""

    @abstractmethod
    def film(self, moments: Sequence[Moment]) -> Image.Image:
        """One column a moment; for each sample a row of it with its noise, and one of the estimates."""


def levels_of(of: Field | Fields) -> dict[str, np.ndarray]:
    """How many values an entry of integers can take, for who reads the file."""
    return {"levels": np.array(of.levels)} if isinstance(of, Field) and of.levels is not None else {}


def save_arrays(arrays: dict[str, Any], out: Path) -> None:
    """Writes an .npz, whole or not at all."""
    with replacing(out) as file:
        np.savez_compressed(file, **arrays)
