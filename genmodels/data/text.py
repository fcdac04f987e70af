"""A text as sequences of characters: the beginning is for training, the end is held out.

Training draws any `block` consecutive characters, as in nanoGPT (https://github.com/karpathy/nanoGPT): all windows are
a view of one copy of the text. In the held-out parts every character is scored once, in adjacent windows.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from genmodels.data.base import Data, Split, Splits
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.ranges import PositiveInt, ProbabilityBelowOne, TwoOrMore

MAX_NAMED = 5  # unknown characters that a message names
Windows = Integer[Tensor, "windows block"]


class Text(Data):
    """One UTF-8 file: integers (block,), the indices of characters in `vocabulary`."""

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],  # (block,)
        levels: TwoOrMore,  # length of the vocabulary
        classes: None,
        batch_size: PositiveInt,
        path: str,  # a text file, UTF-8
        vocabulary: str,  # its characters; a character's token is its index
        n_validation: ProbabilityBelowOne,  # fraction of the text, before the test part
        n_test: ProbabilityBelowOne,  # fraction of the text, at its end
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size, kind="tokens")
        check_settings(shape, levels, vocabulary, n_validation, n_test)
        self.x = self.field = Field("tokens", self.shape, levels, vocabulary)
        self.path = Path(path).expanduser()
        self.vocabulary = vocabulary
        self.n_validation, self.n_test = n_validation, n_test

    def read(self) -> Splits:
        tokens = torch.from_numpy(token_numbers(read_text(self.path), self.vocabulary, self.path)).to(self.field.dtype)
        n, block = len(tokens), self.shape[0]
        ends = [int(n * part) for part in (1 - self.n_validation - self.n_test, 1 - self.n_test)]
        if ends[0] < block:
            raise UserError(
                f"{self.path} has {ends[0]} characters to train on, expected at least the {block} of a window; "
                "give a longer text, or lower data.shape"
            )
        train, val, test = (Split(side_by_side(part, block), {}) for part in tokens.tensor_split(ends))
        return Splits(train, val, test, training=Split(tokens[: ends[0]].unfold(0, block, 1), {}))

    def transform(self, x: Windows, generator: torch.Generator) -> Windows:
        return x


def check_settings(shape: Sequence[int], levels: int, vocabulary: str, n_validation: float, n_test: float) -> None:
    if len(shape) != 1 or shape[0] < 1:
        raise UserError(f"data.shape is {list(shape)}, expected [block], such as data.shape=[64]; correct it")
    if len(set(vocabulary)) != len(vocabulary):
        twice = sorted({each for each in vocabulary if vocabulary.count(each) > 1})
        raise UserError(f"data.vocabulary has {twice} more than once, expected every character once; remove the others")
    if len(vocabulary) != levels:
        raise UserError(
            f"data.levels is {levels} and data.vocabulary has {len(vocabulary)} characters; "
            f"set data.levels={len(vocabulary)}"
        )
    if min(n_validation, n_test) < 0 or n_validation + n_test >= 1:
        raise UserError(
            f"data.n_validation is {n_validation} and data.n_test {n_test}, expected fractions of the text, at least "
            "0 and together below 1; the rest is for training"
        )


def read_text(path: Path) -> str:
    """The file's characters, with newlines as \\n. UserError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text ({error}); convert it, or correct data.path") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}), expected a text file; correct data.path") from error


def token_numbers(text: str, vocabulary: str, path: Path) -> np.ndarray:
    """The index of every character in the vocabulary; UserError where it lacks some."""
    points, known = (np.frombuffer(each.encode("utf-32-le"), np.uint32) for each in (text, vocabulary))
    by_point = np.argsort(known)
    place = np.searchsorted(known, points, sorter=by_point).clip(max=len(known) - 1)
    tokens = by_point[place]
    unknown = np.flatnonzero(known[tokens] != points)
    if len(unknown):
        raise UserError(unknown_characters(text, unknown, path))
    return tokens


def unknown_characters(text: str, unknown: np.ndarray, path: Path) -> str:
    """The error message: the characters that the vocabulary lacks, and where each occurs first."""
    first: dict[str, int] = {}
    for position in unknown.tolist():
        first.setdefault(text[position], position)
    said = [f"{each!r} at {line_and_column(text, position)}" for each, position in list(first.items())[:MAX_NAMED]]
    more = f" and {len(first) - MAX_NAMED} more" if len(first) > MAX_NAMED else ""
    return (
        f"{path} has characters that the vocabulary lacks: {', '.join(said)}{more}; add them to data.vocabulary and "
        "correct data.levels, or remove them from the text"
    )


def line_and_column(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"


def side_by_side(tokens: Integer[Tensor, " n"], block: int) -> Integer[Tensor, "windows _block"]:
    """Adjacent windows; an incomplete one at the end is dropped."""
    windows = len(tokens) // block
    return tokens[: windows * block].reshape(windows, block)
