"""Arrays in a MATLAB file of version 5, as plain data: a header of 128 bytes, then one element for each variable.

The format is MathWorks' "MAT-File Level 5", https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. SciPy's
reader supports all of it, but a damaged file crashes the process with a segmentation fault (seen with SciPy 1.17). A
checksum would detect such files, but none is published for Omniglot's file.
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from genmodels.data.files import read_whole, unreadable

BYTE_ORDERS = {b"\0\1IM": "<", b"\1\0MI": ">"}  # by version and mark at the end of the header
MATRIX, COMPRESSED = 14, 15
VALUES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC = range(6, 16)  # classes of matrices: double, single, and the integers


def read_mat(path: Path, names: Collection[str], limit: int) -> dict[str, np.ndarray]:
    """The variables with these names, with their stored values.

    Raises UserError where the file is broken, one of them is missing or no array of numbers, or one has more than
    `limit` bytes.
    """
    try:
        arrays = dict(matrices(read_whole(path, limit), names, limit))
    except (ValueError, TypeError, struct.error, zlib.error) as error:
        raise unreadable(path, str(error)) from error
    if missing := [name for name in names if name not in arrays]:
        raise unreadable(path, f"it has no variable {missing[0]}")
    return arrays


def matrices(file: bytes, names: Collection[str], limit: int) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of the variables with these names."""
    if (order := BYTE_ORDERS.get(file[124:128])) is None:
        raise ValueError("it is no MATLAB file of version 5 to 7")
    for kind, element in elements(memoryview(file)[128:], order):
        if kind == COMPRESSED:
            kind, element = next(elements(memoryview(inflate(element, limit)), order), (0, element))
        if kind != MATRIX:
            raise ValueError(f"it has an element of type {kind}")
        parts = list(islice(elements(element, order), 4))  # flags, sizes, name, values, as type and content
        name = bytes(parts[2][1]).decode("latin-1") if len(parts) == 4 else ""
        if name in names:
            yield name, matrix(parts[0][1], parts[1][1], *parts[3], order)


def elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of consecutive elements."""
    position = 0
    while position < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, position)
        start = position + 8
        if kind >> 16:  # a small element: type, size and content in 8 bytes
            kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
        position = start + size + (0 if kind == COMPRESSED else -(start + size) % 8)
        if start + size > len(data):
            raise ValueError("it is truncated")
        yield kind, data[start : start + size]


def inflate(data: memoryview, limit: int) -> bytes:
    """The content of a compressed element."""
    stream = zlib.decompressobj()
    found = stream.decompress(data, limit + 1)
    if len(found) > limit:
        raise ValueError(f"a variable has more than {limit} bytes")
    return found


def matrix(flags: memoryview, sizes: memoryview, kind: int, values: memoryview, order: str) -> np.ndarray:
    """The values of an array of real numbers."""
    (described,) = struct.unpack_from(f"{order}I", flags)
    if described & 0xFF not in NUMERIC or described & 0x800 or kind not in VALUES:
        raise ValueError("a variable is no array of real numbers")
    shape = np.frombuffer(sizes, f"{order}i4")
    return np.frombuffer(values, f"{order}{VALUES[kind]}").reshape(shape, order="F")
