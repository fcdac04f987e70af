"""Python 2 pickles of CIFAR's official files: an unpickler that imports, calls and builds nothing that a file names.

A pickle is a program for a small stack machine (https://docs.python.org/3/library/pickletools.html). Python's own
unpickler runs it here, after it was seen that the program has only instructions that the official files have. What
these call are two functions of numpy, in whose place a record stands: numpy's own take a file's word for a size.
"""

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from jaxtyping import UInt8

from genmodels.failures import one_line

MAX_INSTRUCTIONS = 1_000_000  # instructions; the longest official file has fewer than half as many
TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
MAX_TUPLES = 100  # the official files have six; what nests without end would overflow the stack when it is hashed
PUT, GET = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
SHARED = {"SHORT_BINSTRING", "BINSTRING", "GLOBAL"}  # others could stand in themselves, or in a key for ever
KNOWN_INSTRUCTIONS = (
    TUPLES | PUT | GET | SHARED | {"PROTO", "STOP", "MARK", "REDUCE", "BUILD", "EMPTY_DICT", "EMPTY_LIST"}
)
KNOWN_INSTRUCTIONS |= {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "NONE", "NEWFALSE", "NEWTRUE"}
KNOWN_INSTRUCTIONS |= {"BININT", "BININT1", "BININT2", "LONG1"}


class RecordedCall:
    """A call of numpy's that was not made: its arguments, and the state that its result would be given."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class ArrayCall(RecordedCall):
    """Of the function that makes an array."""


class DtypeCall(RecordedCall):
    """Of the function that makes a dtype."""


class Unpickler(pickle.Unpickler):
    """Gives no more than records and plain data."""

    def find_class(self, module: str, name: str) -> type:
        match module, name:
            case ("numpy.core.multiarray", "_reconstruct") | ("numpy", "ndarray"):
                return ArrayCall
            case "numpy", "dtype":
                return DtypeCall
        raise ValueError(f"it names {module}.{name}, which no official file does")


def read_pickle(content: bytes) -> Any:
    """What a pickle holds: None, bools, ints, bytes, and lists, tuples, dicts and `RecordedCall`s of these.

    Raises ValueError where it is broken, has an instruction that the official files do not have, or too many.
    """
    _check_instructions(content)
    try:
        return Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # an unpickler's errors are of any type
        raise ValueError(one_line(str(error))) from error


def _check_instructions(content: bytes) -> None:
    """ValueError unless each is known, and together they take little memory and time."""
    before, tuples = "", 0
    shared: set[int] = set()
    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        name = opcode.name
        tuples += name in TUPLES
        if name not in KNOWN_INSTRUCTIONS or (name in GET and argument not in shared):
            raise ValueError(f"it has the instruction {name} {argument!r:.20}, which no official file has")
        if count == MAX_INSTRUCTIONS or tuples > MAX_TUPLES or (name in PUT and argument > MAX_INSTRUCTIONS):
            raise ValueError(f"it has more than {MAX_INSTRUCTIONS} instructions or {MAX_TUPLES} tuples")
        if name in PUT:
            (shared.add if before in SHARED else shared.discard)(argument)
        before = name


def byte_array(value: Any) -> UInt8[np.ndarray, "..."]:
    """The array of bytes that numpy's pickled calls stand for. Raises ValueError where they stand for anything else."""
    match value:
        case ArrayCall(state=(1, tuple(shape), DtypeCall(arguments=(b"u1", *_)), False, bytes(content))):
            if all(type(n) is int for n in shape):
                return np.frombuffer(content, np.uint8).reshape(shape)
    raise ValueError("its data are no array of bytes")
