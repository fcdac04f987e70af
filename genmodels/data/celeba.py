"""CelebA (Liu et al. 2015, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html): faces of celebrities, aligned.

202,599 images of 178x218 and their official partition: 162,770 for training, 19,867 for validation, 19,962 for test.
Papers crop and resize them differently, so that their results are for different data. `crop` is one of

- center140: the central 140x140; NCSN (https://arxiv.org/abs/1907.05600) and score SDE
  (https://arxiv.org/abs/2011.13456), which resizes bilinearly;
- top40_148: 148x148 from row 40 and column 15 on; RealNVP (https://arxiv.org/abs/1605.08803), "approximately central";
- eyes128: 128x128 around row 121 and column 89; StyleGAN (https://arxiv.org/abs/1812.04948) and DDIM
  (https://arxiv.org/abs/2010.02502)

as in their published code, or none. No program may download the files: each person has to agree to the terms.
"""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from genmodels.data.content import content_hash
from genmodels.data.files import fetch, read_whole, unreadable
from genmodels.data.image_files import channels_first, open_upright
from genmodels.data.image_rules import Box, Resize, cropped_and_resized
from genmodels.data.mapped import SPLITS, Chunk, MappedImages, Preparation, decoded
from genmodels.errors import UserError
from genmodels.fields import SplitName
from genmodels.ranges import PositiveInt, TwoOrMore

PARTITION, FOLDER, ARCHIVE = "list_eval_partition.txt", "img_align_celeba", "img_align_celeba.zip"
IMAGE_SIZE = (178, 218)  # width, height
CROPS = {
    "none": None,
    "center140": Box(19, 39, 159, 179),
    "top40_148": Box(15, 40, 163, 188),
    "eyes128": Box(25, 57, 153, 185),
}
MAX_IMAGE_BYTES = 2**20  # of an image file; the official ones have about 10 kB, the partition has 3 MB
ARCHIVE_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)  # raised by zipfile

Names = dict[SplitName, list[str]]  # of the image files of each split


class CelebA(MappedImages):
    """`root/celeba/list_eval_partition.txt` and, beside it, img_align_celeba.zip or its folder: uint8 (3, h, w)."""

    def __init__(
        self,
        *,
        name: str,  # in tables, pictures and the names of runs
        shape: Sequence[PositiveInt],
        levels: TwoOrMore,
        classes: None,  # the 40 attributes are not classes
        batch_size: PositiveInt,
        flip: bool,  # mirror each training image half of the time
        crop: Literal["none", "center140", "top40_148", "eyes128"],
        resize: Resize,
        root: str,
        md5: Sequence[str],  # of the partition, of the archive
        verify: bool,  # refuse files with another md5; the unpacked images have none
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size, flip=flip)
        self.crop = crop
        self.resize: Resize = resize
        self.folder_of_files = Path(root).expanduser() / "celeba"
        self.md5 = md5
        self.verify = verify

    @property
    def prepared(self) -> str:
        """The rules, such as "crop center140, resize bilinear to 64x64"."""
        return f"crop {self.crop}, resize {self.resize} to {self.shape[1]}x{self.shape[2]}"

    def plan(self) -> Preparation:
        partition = fetch(self.folder_of_files / PARTITION, [], self.md5[0], self.verify)
        names = read_partition(partition)
        unpacked, archive = self.folder_of_files / FOLDER, self.folder_of_files / ARCHIVE
        every = [unpacked / name for part in SPLITS for name in names[part]] if unpacked.is_dir() else [archive]
        return Preparation(
            facts=[self.prepared, names, content_hash(every)],
            n=sum(map(len, names.values())),
            chunks=self.from_folder(unpacked, names) if unpacked.is_dir() else self.from_archive(archive, names),
        )

    def from_folder(self, folder: Path, names: Names) -> Iterator[Chunk]:
        """All images in the unpacked folder."""
        for part in SPLITS:
            yield from decoded(part, [folder / name for name in names[part]], None, lambda file: self.image(file, file))

    def from_archive(self, path: Path, names: Names) -> Iterator[Chunk]:
        """All images in the archive; nothing is unpacked to disk."""
        try:
            with zipfile.ZipFile(fetch(path, [], self.md5[1], self.verify)) as archive:
                members = {PurePosixPath(member.filename).name: member for member in archive.infolist()}
                for part in SPLITS:
                    yield from decoded(part, names[part], None, partial(self.image_in, archive, members))
        except ARCHIVE_ERRORS as error:
            raise unreadable(path, str(error)) from error

    def image_in(
        self, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str
    ) -> UInt8[np.ndarray, "c h w"]:
        """An image of the archive, cropped and resized."""
        if (member := members.get(name)) is None or member.file_size > MAX_IMAGE_BYTES:
            raise unreadable(Path(str(archive.filename)), f"{name} is missing or larger than {MAX_IMAGE_BYTES} bytes")
        return self.image(BytesIO(archive.read(member)), f"{name} in {archive.filename}")

    def image(self, file: Path | BytesIO, name: object) -> UInt8[np.ndarray, "c h w"]:
        """An image, cropped and resized."""
        c, h, w = self.shape
        image = open_upright(file, name, c)
        if image.size != IMAGE_SIZE:
            raise UserError(f"{name} is {image.height}x{image.width}, expected the aligned images of 218x178")
        return channels_first(cropped_and_resized(image, CROPS[self.crop], (w, h), self.resize, name))


def read_partition(path: Path) -> Names:
    """The names of the images in each split: lines such as "000001.jpg 0", 0 for training, 1 validation, 2 test."""
    lines = [line.split() for line in read_whole(path, 4 * MAX_IMAGE_BYTES).decode("utf-8", "replace").splitlines()]
    if any(len(line) != 2 or line[1] not in "012" or PurePosixPath(line[0]).name != line[0] for line in lines):
        raise unreadable(path, 'it has lines unlike "000001.jpg 0"')
    return {part: [name for name, number in lines if number == str(i)] for i, part in enumerate(SPLITS)}
