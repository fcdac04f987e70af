"""MATLAB files, whole and damaged."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from genmodels.data.mat import read_mat
from genmodels.errors import UserError


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "i8"])
@pytest.mark.parametrize("compress", [False, True])
def test_matlab_arrays_of_every_type(tmp_path: Path, dtype: str, compress: bool) -> None:
    x = np.arange(24).reshape(2, 3, 4).astype(dtype)
    savemat(tmp_path / "a.mat", {"a": x[:1], "x": x, "small": x[:1, :1, 0]}, do_compression=compress)
    arrays = read_mat(tmp_path / "a.mat", ("x", "small"), 10**6)
    assert set(arrays) == {"x", "small"} and (arrays["x"] == x).all() and arrays["small"] == x[0, 0, 0]


def test_damaged_matlab_files(tmp_path: Path) -> None:
    """SciPy's own reader ends the process for some of these."""
    path = tmp_path / "a.mat"
    savemat(path, {"x": np.arange(6.0), "y": np.arange(3)}, do_compression=False)
    whole = path.read_bytes()
    rng = np.random.RandomState(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.randint(124, len(whole), size=rng.randint(1, 5)):
            damaged[at] = rng.choice([0, 1, 5, 6, 9, 14, 15, 255])
        path.write_bytes(damaged[: rng.randint(124, len(whole) + 200)])
        try:
            read_mat(path, ("x", "y"), 10**6)
        except UserError:
            refused += 1
    assert 150 < refused < 300


def test_a_matlab_variable_that_unpacks_to_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"x": np.zeros(10**6)}, do_compression=True)
    assert path.stat().st_size < 10**5
    with pytest.raises(UserError, match="a variable has more than 100000 bytes"):
        read_mat(path, ("x",), 10**5)
    whole = path.read_bytes()
    path.write_bytes(whole[:128] + struct.pack("<II", 15, 30) + zlib.compress(bytes(8) * 100)[:30])
    with pytest.raises(UserError, match="cannot be read"):
        read_mat(path, ("x",), 10**5)
