"""Python 2 pickles as plain data, without unpickling: nothing is imported, called or built that the file names.

A pickle is a program for a small stack machine (https://docs.python.org/3/library/pickletools.html). The instructions
that the official files of CIFAR hold are followed here, where the name of a function becomes a `Name` and its call a
`Call`: records that do nothing. Any other instruction is refused.
"""

import pickletools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

LIMIT = 1_000_000  # instructions; the longest official file has fewer than half as many
INTEGERS = ("BININT", "BININT1", "BININT2", "LONG1")
CONSTANTS = {"NONE": None, "NEWFALSE": False, "NEWTRUE": True}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Name(NamedTuple):
    """What a pickle would import: "module attribute"."""

    name: str


class Call(NamedTuple):
    """What a pickle would call with which arguments, and the state that it would give to the result."""

    function: Any
    arguments: Any
    state: Any = None


def read_pickle(content: bytes) -> Any:
    """What a pickle holds: None, bools, ints, bytes, and lists, tuples, dicts and `Call`s of these.

    Raises ValueError where it is broken, has an instruction that the official files do not have, or too many.
    """
    machine = Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if count == LIMIT:
            raise ValueError(f"it has more than {LIMIT} instructions")
        try:
            machine.step(opcode.name, argument)
        except (IndexError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"its instruction {count}, {opcode.name}, does not fit what came before") from error
    return machine.result


class Machine:
    """The stack, the stacks that marks have set aside, and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.aside: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.result: Any = None

    def step(self, name: str, argument: Any) -> None:
        """Follows one instruction."""
        push, pop = self.stack.append, self.stack.pop
        match name:
            case "PROTO":
                pass
            case "STOP":
                self.result = pop()
            case "GLOBAL":
                push(Name(argument))
            case "REDUCE":
                arguments, function = pop(), pop()
                push(Call(function, arguments))
            case "BUILD":
                state, call = pop(), pop()
                push(call._replace(state=state))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "SHORT_BINSTRING" | "BINSTRING":
                push(argument.encode("latin-1"))  # as it was in the file
            case _ if name in INTEGERS:
                push(argument)
            case _ if name in CONSTANTS:
                push(CONSTANTS[name])
            case _:
                self.collect(name)

    def collect(self, name: str) -> None:
        """Follows an instruction about a mark, tuple, list or dict."""
        match name:
            case "MARK":
                self.aside.append(self.stack)
                self.stack = []
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "TUPLE":
                values = self.since_mark()
                self.stack.append(tuple(values))
            case "APPEND":
                value = self.stack.pop()
                self.stack[-1].append(value)
            case "APPENDS":
                values = self.since_mark()
                self.stack[-1].extend(values)
            case "SETITEMS":
                values = self.since_mark()
                self.stack[-1].update(zip(map(checked_key, values[::2]), values[1::2], strict=True))
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                self.stack[-1].update({checked_key(key): value})
            case _ if name in TUPLES:
                values = [self.stack.pop() for _ in range(TUPLES[name])]
                self.stack.append(tuple(reversed(values)))
            case _:
                raise ValueError(f"it has the instruction {name}, which no official file has")

    def since_mark(self) -> list[Any]:
        """Takes what was pushed since the last mark."""
        values, self.stack = self.stack, self.aside.pop()
        return values


def checked_key(key: Any) -> bytes:
    """The key of a dict; of tuples in tuples, the hash alone could take for ever."""
    if not isinstance(key, bytes):
        raise TypeError("a key that is no bytes")
    return key


def array(value: Any) -> UInt8[np.ndarray, "..."]:
    """The array of bytes that numpy's pickled calls stand for. Raises ValueError where they stand for anything else."""
    match value:
        case Call(
            Name("numpy.core.multiarray _reconstruct"),
            _,
            (1, tuple(shape), Call(Name("numpy dtype"), (b"u1", *_)), False, bytes(content)),
        ) if all(type(n) is int for n in shape):
            return np.frombuffer(content, np.uint8).reshape(shape)
    raise ValueError("its data are no array of bytes")
