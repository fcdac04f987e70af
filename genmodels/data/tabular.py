"""POWER, GAS, HEPMASS, MINIBOONE and BSDS300 as MAF's authors prepared them (Papamakarios et al. 2017,
https://arxiv.org/abs/1705.07057), in the folders of their data.tar.gz (https://zenodo.org/record/1161203).

GAS is a pickle there, which can run code when it is read, so each person converts it once: the error message says how.
The text file of the UCI archive cannot replace it: the authors took a random quarter of its rows and published no seed.
The authors' files of POWER and MINIBOONE lack some rows or columns as well. Two small tables come with scikit-learn,
and need no file.
"""

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from genmodels.data import maf_tables, scikit_learn_tables
from genmodels.data.base import Data, Splits, labelled
from genmodels.data.files import fetch, unreadable
from genmodels.data.maf_tables import Rows, SplitRows
from genmodels.disk.atomic import replacing
from genmodels.errors import UserError
from genmodels.ranges import NonNegativeInt, PositiveInt

TableName = Literal["power", "gas", "hepmass", "miniboone", "bsds300", "breast_cancer", "wine"]
Find = Callable[[str], Path]  # a file of the archive, by its name there

FOLDER, ARCHIVE = "tabular", "data.tar.gz"
MAX_TABLE_BYTES = 2**32  # bytes of an unpacked file; the largest official one has less than 1 GB
HEPMASS_COLUMNS = range(28)  # label and features; the authors drop the additional column of the test file


class Tabular(Data):
    """One table: float32 (d,), without labels, from files in `root/tabular`, unpacked there if necessary."""

    def __init__(
        self,
        *,
        name: str,
        shape: Sequence[NonNegativeInt],
        levels: None,
        classes: None,
        batch_size: PositiveInt,
        table: TableName,  # one of the tables in papers on flows, or of scikit-learn
        tables: Mapping[str, Sequence[PositiveInt]],  # for each table: columns, and rows in train, val and test
        root: str,
        urls: Sequence[str],  # of the archive
        md5: str,  # of the archive
        verify: bool,  # refuse an archive with another md5, and tables with other numbers of rows
    ):
        super().__init__(name=name, shape=shape, levels=levels, classes=classes, batch_size=batch_size)
        self.table = table
        _, *self.rows = tables[table]
        self.folder = Path(root).expanduser() / FOLDER
        self.urls = urls
        self.md5 = md5
        self.verify = verify

    def read(self) -> Splits:
        parts = READERS[self.table](self.find)
        if self.verify and (found := list(map(len, parts))) != self.rows:
            raise UserError(
                f"{self.name} has {found} rows in train, val and test, expected {self.rows} of the official table; "
                "get its files again, or set data.verify=false to use them as they are"
            )
        train, val, test = (labelled(torch.from_numpy(x.astype(np.float32)), None) for x in parts)
        return Splits(train, val, test, training=train)

    def find(self, name: str) -> Path:
        """A file of the archive, unpacked now if it is missing."""
        path = self.folder / name
        if not path.is_file():
            unpack(fetch(self.folder / ARCHIVE, self.urls, self.md5, self.verify), name, path)
        return path

    def transform(self, x: Float[Tensor, "b d"], generator: torch.Generator) -> Float[Tensor, "b d"]:
        return x


def unpack(archive: Path, name: str, path: Path) -> None:
    """Writes the archive's data/`name` to `path`, whole or not at all; nothing else is unpacked."""
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                wanted = PurePosixPath(member.name) == PurePosixPath("data", name)
                if wanted and member.isfile() and not member.issparse() and member.size < MAX_TABLE_BYTES:
                    with replacing(path) as file:
                        shutil.copyfileobj(members.extractfile(member), file)  # type: ignore[arg-type]
                    return
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise unreadable(archive, str(error)) from error
    raise unreadable(archive, f"data/{name} is not in it")


def read_power(find: Find) -> SplitRows:
    return maf_tables.power(read_npy(find("power/data.npy"), columns=8))


def read_gas(find: Find) -> SplitRows:
    pickled = find("gas/ethylene_CO.pickle")
    path = pickled.with_suffix(".npy")
    if not path.is_file():
        raise UserError(
            f"{pickled} is a pickle, which can run code when it is read, so this package does not read it; "
            f"if it is the authors' own, convert it once in {path.parent}: python -c \"import numpy, pandas; "
            f"x = pandas.read_pickle('{pickled.name}').drop(columns=['Meth', 'Eth', 'Time']); "
            f"numpy.save('{path.name}', x.to_numpy())\""
        )
    return maf_tables.gas(read_npy(path, columns=16))


def read_hepmass(find: Find) -> SplitRows:
    return maf_tables.hepmass(*(read_csv(find(f"hepmass/1000_{split}.csv")) for split in ("train", "test")))


def read_miniboone(find: Find) -> SplitRows:
    return maf_tables.miniboone(read_npy(find("miniboone/data.npy"), columns=43))


def read_bsds300(find: Find) -> SplitRows:
    """Patches of natural images, 8x8 without the last pixel and without their mean: unchanged."""
    try:
        import h5py
    except ImportError as error:
        raise UserError("BSDS300 is an HDF5 file, and h5py is not installed; pip install h5py") from error
    path = find("BSDS300/BSDS300.hdf5")
    try:
        with h5py.File(path, "r") as file:
            return file["train"][:], file["validation"][:], file["test"][:]
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(path, str(error)) from error


READERS: dict[TableName, Callable[[Find], SplitRows]] = {
    "power": read_power,
    "gas": read_gas,
    "hepmass": read_hepmass,
    "miniboone": read_miniboone,
    "bsds300": read_bsds300,
    "breast_cancer": lambda find: scikit_learn_tables.breast_cancer(),
    "wine": lambda find: scikit_learn_tables.wine(),
}


def read_npy(path: Path, columns: int) -> Rows:
    """A table of numbers; pickled objects are refused."""
    try:
        x = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise unreadable(path, str(error)) from error
    if not isinstance(x, np.ndarray) or x.shape[1:] != (columns,) or x.dtype.kind not in "fiu":
        raise unreadable(path, f"it is no table of numbers with {columns} columns")
    return x


def read_csv(path: Path) -> Rows:
    """The columns of HEPMASS below a header line."""
    try:
        return np.loadtxt(path, delimiter=",", skiprows=1, comments=None, usecols=HEPMASS_COLUMNS, ndmin=2)
    except (OSError, ValueError) as error:
        raise unreadable(path, str(error)) from error
