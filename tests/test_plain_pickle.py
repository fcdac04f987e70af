"""Pickles are read without executing anything: what the official files hold, and pickles that want to do harm."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from genmodels.data import cifar, plain_pickle
from genmodels.data.plain_pickle import byte_array, read_pickle
from tests.python2_pickle import pickled


def test_the_fixture_is_what_python_unpickles() -> None:
    x = np.arange(3072 * 3, dtype=np.uint8).reshape(3, 3072)
    value = {b"labels": list(range(3)) * 500, b"data": x, b"filenames": [b"%d" % i for i in range(300)]}
    content = pickled(value)
    assert content.startswith(b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x00K\x01K\x02")
    loaded, plain = pickle.loads(content, encoding="bytes"), read_pickle(content)
    assert (byte_array(plain.pop(b"data")) == x).all() and (loaded.pop(b"data") == x).all()
    assert loaded == plain


class Attack:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("attacked",)


def calls(function: bytes, argument: bytes) -> bytes:
    """A pickle of Python 2 that calls a function."""
    return b"\x80\x02c" + function + b"\nU" + bytes([len(argument)]) + argument + b"\x85R."


ATTACKS = {
    "os.system": calls(b"posix\nsystem", b"touch attacked"),
    "eval": calls(b"__builtin__\neval", b"open('attacked','w')"),
    "nested": b"\x80\x02c__builtin__\ngetattr\ncposix\nsystem\nU\x08__call__\x86RU\x0etouch attacked\x85R.",
    "state": b"\x80\x02cposix\nsystem\n}U\x08__dict__U\x00sb.",
    "another protocol": pickle.dumps({b"data": Attack(), b"labels": [1]}, 4),
    "of Python 3": pickle.dumps({b"data": Attack(), b"labels": [1]}, 2),
    "old style": b"cposix\nsystem\n(S'touch attacked'\ntR.",
    "instance": b"(S'touch attacked'\niposix\nsystem\n.",
    "persistent": b"\x80\x02Pattacked\n.",
    "extension": b"\x80\x02\x82\x01.",
    "truncated": pickled({b"data": b"x" * 300})[:-100],
    "length": b"\x80\x02T\xff\xff\xff\x7fshort.",
    "negative length": b"\x80\x02T\xff\xff\xff\xffshort.",
    "memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "no memo": b"\x80\x02h\x07.",
    "no mark": b"\x80\x02u.",
    "nothing": b"\x80\x02.",
    "empty": b"",
    "text": b"hello",
    "hash of nested tuples": b"\x80\x02}(K\x01q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"K\x01u.",
    "hash of tuples in tuples": b"\x80\x02}(N" + b"\x85" * 900 + b"K\x01u.",
    "tuple that is shared": b"\x80\x02}(N\x85q\x01h\x01K\x01u.",
    "tuple taken for a string": b"\x80\x02}(U\x01aq\x01N\x85(uq\x01h\x01K\x01u.",
    "odd dict": b"\x80\x02}(U\x01au.",
    "key that is a list": b"\x80\x02}(]K\x01u.",
    "append to an int": b"\x80\x02K\x01K\x02a.",
    "extend an int": b"\x80\x02K\x01(K\x02e.",
    "state of an int": b"\x80\x02K\x01K\x02b.",
    "list in itself": b"\x80\x02]q\x01(h\x01e.",
    "many": b"\x80\x02" + b"]" * 2000 + b".",
    "array of objects": pickled({b"data": [1], b"labels": [1]}),
    "labels that call": pickled({b"data": np.zeros((1, 3072), np.uint8)})[:-1]
    + b"(U\x06labels]cposix\nsystem\nU\x01x\x85Rau.",
    "labels of another length": pickled({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}),
    "shape": pickled({b"data": np.zeros((2, 3071), np.uint8), b"labels": [1, 1]}),
    "shape of huge size": pickled({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1]}).replace(
        b"K\x01M\x00\x0c", b"M\xff\xffM\x00\x0c"
    ),
    "huge number": pickled({b"data": np.zeros((1, 3072), np.uint8)})[:-1]
    + b"(U\x06labels](\x8a\x09"
    + b"\x7f" * 9
    + b"eu.",
}


@pytest.mark.parametrize("case", ATTACKS)
def test_pickles_that_want_to_do_harm(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plain_pickle, "MAX_INSTRUCTIONS", 1000)
    with pytest.raises(ValueError) as error:
        cifar.parse_pickle(ATTACKS[case], ["labels"], "labels")
    assert not (tmp_path / "attacked").exists() and len(str(error.value)) < 120


def test_a_function_that_no_official_file_names() -> None:
    with pytest.raises(ValueError, match=r"it names posix\.system, which no official file does"):
        read_pickle(ATTACKS["os.system"])


@pytest.mark.parametrize("name", [b"numpy.core.multiarray\n_reconstruct", b"numpy\nndarray", b"numpy\ndtype"])
def test_a_function_of_numpy_is_not_called(name: bytes) -> None:
    """numpy's own would set memory aside for whatever shape or dtype a file asks for."""
    record = read_pickle(b"\x80\x02c" + name + b"\nJ\xff\xff\xff\x7fJ\xff\xff\xff\x7fU\x02O8\x87R.")
    assert record.arguments == (2**31 - 1, 2**31 - 1, b"O8") and type(record).__module__ == plain_pickle.__name__


def test_any_damage_to_a_pickle_is_an_error_or_harmless() -> None:
    whole = pickled({b"data": np.zeros((1, 8), np.uint8), b"labels": [1, 2]})
    rng = np.random.RandomState(0)
    outcomes = set()
    for _ in range(1000):
        damaged = bytearray(whole)
        for at in rng.randint(len(whole), size=rng.randint(1, 4)):
            damaged[at] = rng.randint(256)
        try:
            batch = read_pickle(bytes(damaged))
            outcomes.add(byte_array(batch[b"data"]).shape)
        except (ValueError, KeyError, TypeError) as error:  # the last two: of batch[b"data"]
            outcomes.add(type(error))
    assert ValueError in outcomes and (1, 8) in outcomes


def test_the_limit_leaves_room_for_the_official_files() -> None:
    """CIFAR-100's training file: a name with its place in the memo and two labels for each of 50,000 images."""
    assert plain_pickle.MAX_INSTRUCTIONS > 50_000 * 4 + 1000
