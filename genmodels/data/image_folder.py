"""Your own images: any image files in a folder, of any size, prepared once and memory-mapped.

They are cropped and resized to `data.shape` by rules that are part of the protocol. `split_seed` chooses the images
that are held out for validation and test, and shuffles each split, so that its first images are a random sample.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy.random import RandomState

from genmodels.data.content import content_hash
from genmodels.data.image_files import channels_first, images_in, open_upright
from genmodels.data.image_rules import Resize, central_box, cropped_and_resized
from genmodels.data.mapped import Chunk, MappedImages, Preparation, decoded
from genmodels.errors import UserError
from genmodels.fields import SplitName
from genmodels.ranges import NonNegativeInt, PositiveInt, TwoOrMore


class ImageFile(NamedTuple):
    """An image file below a folder."""

    path: Path
    folder: str  # its sub-folder of the first level; empty: none
    name: str  # its path relative to the folder


class ImageFolder(MappedImages):
    """All images in a folder and its sub-folders: uint8 (3, h, w), or (1, h, w) in grey.

    With `classes`, the sub-folder of the first level is the class of an image: 0 for the first one in alphabetical
    order.
    """

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: PositiveInt | None,
        batch_size: PositiveInt,
        flip: bool,  # mirror each training image half of the time
        path: str,  # a folder of images, or of a folder for each class
        test_path: str | None,  # folder of the test split; None: held out from `path`
        crop: Literal["none", "center"],
        resize: Resize,
        n_test: NonNegativeInt,  # images held out for the test, if there is no test_path
        n_validation: NonNegativeInt,  # samples held out of those for training
        split_seed: NonNegativeInt,
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size, flip=flip)
        self.path = Path(path).expanduser()
        self.test_path = None if test_path is None else Path(test_path).expanduser()
        self.crop = crop
        self.resize: Resize = resize
        self.n_test = n_test
        self.n_validation = n_validation
        self.split_seed = split_seed

    @property
    def prepared(self) -> str:
        """The rules, such as "crop center, resize lanczos to 32x32"."""
        c, h, w = self.shape
        return f"crop {self.crop}, resize {self.resize} to {h}x{w}{', grey' if c == 1 else ''}"

    def plan(self) -> Preparation:
        every = shuffled_files(self.path, self.split_seed)
        n_test = self.n_test if self.test_path is None else 0
        n_held = n_test + self.n_validation
        if min(n_test, self.n_validation) < 0 or n_held >= len(every):
            raise UserError(
                f"cannot hold out {n_test} and {self.n_validation} of the {len(every)} images in {self.path}, expected "
                "0 or more of each, and fewer in total; correct data.n_test and data.n_validation"
            )
        parts: dict[SplitName, list[ImageFile]]
        parts = {"train": every[n_held:], "val": every[n_test:n_held], "test": every[:n_test]}
        if self.test_path is not None:
            parts["test"] = shuffled_files(self.test_path, self.split_seed)
        labels = None if self.classes is None else self.labels(every)
        return Preparation(
            facts=[self.prepared, {name: hash_of_files(files) for name, files in parts.items()}],
            n=sum(map(len, parts.values())),
            chunks=chain.from_iterable(self.chunks(name, files, labels) for name, files in parts.items()),
        )

    def labels(self, files: Sequence[ImageFile]) -> dict[str, int]:
        """The number of each class by the name of its folder."""
        names = sorted({file.folder for file in files} - {""})
        if len(names) != self.classes:
            raise UserError(
                f"{self.path} has images in {len(names)} sub-folders, expected one for each of {self.classes} classes; "
                "correct the folders or data.classes, or set data.classes=null to leave out labels"
            )
        return {name: number for number, name in enumerate(names)}

    def chunks(self, split: SplitName, files: Sequence[ImageFile], labels: Mapping[str, int] | None) -> Iterator[Chunk]:
        """The images of a split, cropped and resized, with their labels."""
        y = None
        if labels is not None:
            for file in files:
                if file.folder not in labels:
                    raise UserError(
                        f"{file.path} is in no folder of a class, expected one of {', '.join(labels)}; move it, "
                        "or set data.classes=null to leave out labels"
                    )
            y = np.array([labels[file.folder] for file in files], np.int64)
        yield from decoded(split, files, y, self.image)

    def image(self, file: ImageFile) -> UInt8[np.ndarray, "c h w"]:
        """An image, cropped and resized."""
        c, h, w = self.shape
        image = open_upright(file.path, file.path, c)
        box = central_box(image.size, (w, h), self.resize) if self.crop == "center" else None
        return channels_first(cropped_and_resized(image, box, (w, h), self.resize, file.path))


def shuffled_files(path: Path, seed: int) -> list[ImageFile]:
    """The images in a folder, shuffled by `seed`."""
    if not path.is_dir():
        raise UserError(f"{path} is not a folder, expected one with images; correct data.path or data.test_path")
    files = []
    for file in images_in(path):
        name = file.relative_to(path)
        files.append(ImageFile(file, name.parts[0] if len(name.parts) > 1 else "", name.as_posix()))
    return [files[i] for i in RandomState(seed).permutation(len(files))]


def hash_of_files(files: Sequence[ImageFile]) -> str:
    """A hash of the names and contents of files, in their order."""
    content = content_hash([file.path for file in files])
    return sha256("\n".join([content, *(file.name for file in files)]).encode()).hexdigest()
