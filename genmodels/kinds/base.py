"""How samples of one kind are shown, read and saved.

A kind is one file in this folder and one line in `genmodels/kinds/__init__.py`. Samples are on the CPU and in data
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
    """A batch with its name and field, for a picture of several batches."""

    name: str  # the caption: "data", "sample", or the name of a condition
    x: Any  # (n, *field.shape)
    field: Field


class Format(NamedTuple):
    """A file format for samples."""

    what: str  # what is written, such as "a grid"
    write: Callable[[Any, Condition, Path], None]  # (samples, their conditions, path)


class Kind:
    """Samples as files. This base class saves arrays, of one tensor or several."""

    file: ClassVar[str] = "samples.npz"  # the default name

    def __init__(self, of: Field | Fields):
        self.of = of

    @classmethod
    def suits(cls, field: Field) -> bool:
        """Whether this kind can show and save samples of this field."""
        return True

    def text(self, x: Batch) -> str | None:
        """Samples as readable text; None: they are not text."""
        return None

    def arrays(self, x: Batch, condition: Condition) -> dict[str, np.ndarray]:
        """Samples and their conditions by their names in an .npz."""
        values = {name or "x": values.numpy() for name, values in (*condition.items(), *tensors(x))}
        return values | levels_of(self.of)

    def formats(self, model: Any) -> dict[str, Format]:
        """The formats in which samples can be saved, by file extension; "" is a folder."""
        return {".npz": Format("arrays", lambda x, given, out: save_arrays(self.arrays(x, given), out))}

    def require_format(self, out: Path, model: Any) -> Format:
        """The format for the path `out`.

        Raises UserError where the extension is unknown, a folder is not empty, or `out` cannot be written.
        """
        formats = self.formats(model)
        if out.suffix not in formats:
            known = ", ".join(f"{ending or 'no ending'} for {format_.what}" for ending, format_ in formats.items())
            raise UserError(f"out={out} has an unknown ending; use {known}")
        if not out.suffix and out.is_dir() and any(out.iterdir()):
            raise UserError(f"the folder {out} is not empty; choose another, so that no sample is overwritten")
        require_writable(out)
        return formats[out.suffix]

    def save(self, x: Batch, out: Path, model: Any, condition: Condition = NO_CONDITION) -> None:
        """Writes samples in the format that the extension of `out` selects, and creates the parent folder."""
        chosen = self.require_format(out, model)
        out.parent.mkdir(parents=True, exist_ok=True)
        chosen.write(x, condition, out)


class Pictured(Kind, ABC):
    """Samples that a person can look at."""

    dots: ClassVar[int] = 0  # samples in a picture where each is a dot; 0: the number comes from the config

    @abstractmethod
    def picture(
        self, x: Batch | None, model: Any, condition: Condition = NO_CONDITION, data: Batch | None = None
    ) -> Image.Image:
        """A picture of samples, arranged by their conditions, beside some of the data where `data` is given.

        `x` is None where the model draws no samples. Some kinds also show what the model knows, such as a density.
        """


class SideBySide(Pictured):
    """Samples that can be shown in one picture beside other batches, such as originals and reconstructions."""

    of: Field

    @abstractmethod
    def stacked(self, rows: Sequence[NamedSamples]) -> Image.Image:
        """The first sample of each row below each other, then the second ones, ..., with the names of the rows."""


class Filmed(SideBySide):
    """Samples whose denoising can be shown."""

    @abstractmethod
    def film(self, moments: Sequence[Moment]) -> Image.Image:
        """One column for each moment; two rows for each sample: the noisy sample and the estimate."""


def levels_of(of: Field | Fields) -> dict[str, np.ndarray]:
    """The number of values of integer entries, stored for readers of the file."""
    return {"levels": np.array(of.levels)} if isinstance(of, Field) and of.levels is not None else {}


def save_arrays(arrays: dict[str, Any], out: Path) -> None:
    """Writes an .npz, whole or not at all."""
    with replacing(out) as file:
        np.savez_compressed(file, **arrays)
