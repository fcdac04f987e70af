"""Writes what Python 2 pickled, of which the official python versions of CIFAR are made."""

import struct
from collections.abc import Sequence

import numpy as np


class Python2Pickler:
    """Writes what cPickle of Python 2 writes at protocol 2, byte for byte as the official files begin."""

    def __init__(self) -> None:
        self.out, self.memo = bytearray(b"\x80\x02"), 0

    def put(self, code: bytes) -> None:
        self.memo += 1
        self.out += code + (b"q" + bytes([self.memo]) if self.memo < 256 else b"r" + struct.pack("<I", self.memo))

    def value(self, value: object) -> None:
        if value is None or isinstance(value, bool):
            self.out += {None: b"N", False: b"\x89", True: b"\x88"}[value]
        elif isinstance(value, int):
            code, layout = ("K", "B") if 0 <= value < 256 else ("M", "H") if 0 <= value < 65536 else ("J", "i")
            self.out += code.encode() + struct.pack(f"<{layout}", value)
        elif isinstance(value, bytes):
            size = bytes([len(value)]) if len(value) < 256 else struct.pack("<I", len(value))
            self.put((b"U" if len(value) < 256 else b"T") + size + value)
        elif isinstance(value, list):
            self.put(b"]")
            for start in range(0, len(value), 1000):
                self.marked(value[start : start + 1000], b"e")
        elif isinstance(value, dict):
            self.put(b"}")
            self.marked([part for item in value.items() for part in item], b"u")
        elif isinstance(value, np.ndarray):
            self.array(value)

    def marked(self, values: Sequence[object], end: bytes) -> None:
        self.out += b"("
        for value in values:
            self.value(value)
        self.out += end

    def array(self, x: np.ndarray) -> None:
        self.put(b"cnumpy.core.multiarray\n_reconstruct\n")
        self.put(b"cnumpy\nndarray\n")
        self.value(0)
        self.put(b"\x85")
        self.value(b"b")
        self.put(b"\x87")
        self.put(b"R")
        self.out += b"("
        self.value(1)
        for size in x.shape:
            self.value(size)
        self.put(b"\x86")
        self.put(b"cnumpy\ndtype\n")
        self.value(b"u1")
        self.value(0)
        self.value(1)
        self.put(b"\x87")
        self.put(b"R")
        self.marked([3, b"|", None, None, None, -1, -1, 0], b"t")
        self.put(b"b")  # cPickle puts the tuple, not the result of BUILD; the numbers of the memo matter to nobody
        self.value(False)
        self.value(x.tobytes())
        self.put(b"t")
        self.out += b"b"


def pickled(value: object) -> bytes:
    pickler = Python2Pickler()
    pickler.value(value)
    return bytes(pickler.out + b".")
