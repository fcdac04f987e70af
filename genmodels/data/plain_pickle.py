"""An unpickler for CIFAR's official Python 2 pickles, which imports, calls and builds nothing that a file names.

A pickle is a program for a small stack machine (https://docs.python.org/3/library/pickletools.html). Python's own
unpickler runs it here, after a check that it has only instructions that the official files have. They call two
functions of numpy, which are replaced by records of the calls, since numpy trusts the sizes in a file.
"""

import io
import pickle
import pickletools
from typing import Any

import numpy as np
from jaxtyping import UInt8

from genmodels.failures import one_line

MAX_INSTRUCTIONS = 1_000_000  # the longest official file has fewer than half as many
TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
MAX_TUPLES = 100  # the official files have six; hashing deeply nested ones would overflow the stack
PUT, GET = {"BINPUT", "LONG_BINPUT"}, {"BINGET", "LONG_BINGET"}
SHARED = {"SHORT_BINSTRING", "BINSTRING", "GLOBAL"}  # others could contain themselves
KNOWN_INSTRUCTIONS = (
    TUPLES | PUT | GET | SHARED | {"PROTO", "STOP", "MARK", "REDUCE", "BUILD", "EMPTY_DICT", "EMPTY_LIST"}
)
KNOWN_INSTRUCTIONS |= {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "NONE", "NEWFALSE", "NEWTRUE"}
KNOWN_INSTRUCTIONS |= {"BININT", "BININT1", "BININT2", "LONG1"}


class RecordedCall:
    """A call of a numpy function that was not made: its arguments, and the state for its result."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class ArrayCall(RecordedCall):
    """A call of the function that makes an array."""


class DtypeCall(RecordedCall):
    """A call of the function that makes a dtype."""


class Unpickler(pickle.Unpickler):
    """Returns only recorded calls and plain data."""

    def find_class(self, module: str, name: str) -> type:
        match module, name:
            case ("numpy.core.multiarray", "_reconstruct") | ("numpy", "ndarray"):
                return ArrayCall
            case "numpy", "dtype":
                return DtypeCall
        raise ValueError(f"it names {module}.{name}, which no official file does")


def read_pickle(content: bytes) -> Any:
    """The content of a pickle: None, bools, ints, bytes, and lists, tuples, dicts and `RecordedCall`s of these.

    Raises ValueError where it is broken, has an instruction that no official file has, or too many instructions.
    """
    _check_instructions(content)
    try:
        return Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # an unpickler raises errors of any type
        raise ValueError(one_line(str(error))) from error


def _check_instructions(content: bytes) -> None:
    """ValueError unless all instructions are known and need little memory and time."""
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
    """The array of bytes for numpy's recorded calls. Raises ValueError where they are anything else."""
    match value:
        case ArrayCall(state=(1, tuple(shape), DtypeCall(arguments=(b"u1", *_)), False, bytes(content))):
            if all(type(n) is int for n in shape):
                return np.frombuffer(content, np.uint8).reshape(shape)
    raise ValueError("its data are no array of bytes")
