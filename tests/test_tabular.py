"""The five tables of MAF: the authors' steps on small files in the exact official formats; scikit-learn's tables."""

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import InstantiationException
from sklearn.datasets import load_breast_cancer, load_wine

from genmodels.config.check import check
from genmodels.config.compose import compose_config, resolved
from genmodels.config.schema import Train
from genmodels.config.shipped import CONFIGS
from genmodels.data import maf_tables
from genmodels.data.base import Data
from genmodels.data.tabular import Tabular
from genmodels.errors import UserError

OFFICIAL = {
    "power": (6, 1_659_917, 184_435, 204_928),
    "gas": (8, 852_174, 94_685, 105_206),
    "hepmass": (21, 315_123, 35_013, 174_987),
    "miniboone": (43, 29_556, 3_284, 3_648),
    "bsds300": (63, 1_000_000, 50_000, 250_000),
    "breast_cancer": (30, 343, 113, 113),
    "wine": (13, 108, 35, 35),
}


def make(table: str, root: Path, *overrides: str, verify: bool = False) -> Data:
    GlobalHydra.instance().clear()
    facts = [f"data.table={table}", f"data.root={root}", f"data.verify={str(verify).lower()}", "data.urls=[]"]
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("data/tabular", [*facts, *overrides]).data
    try:
        return hydra.utils.instantiate(config, _convert_="all")
    except InstantiationException as error:
        raise error.__cause__ or error from None


def parts(data: Data) -> list[np.ndarray]:
    """Train, val and test, each (n, d)."""
    splits = [data.split(name) for name in ("train", "val", "test")]
    assert all(split.condition == {} and split.x.dtype == torch.float32 for split in splits)
    return [split.x.numpy() for split in splits]


def put(path: Path, x: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, x)


def standardized(x: np.ndarray, known: np.ndarray, ddof: int = 0) -> np.ndarray:
    return (x - known.mean(0)) / known.std(0, ddof=ddof)


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=1e-5, atol=1e-5))


@pytest.mark.parametrize("table", OFFICIAL)
def test_columns_and_rows_are_the_published_ones(table, tmp_path):
    data = make(table, tmp_path)
    assert isinstance(data, Tabular) and data.name == table
    assert (*data.shape, *data.rows) == OFFICIAL[table]


def test_official_numbers_of_rows_follow_from_those_of_the_files():
    for table, n in (("power", 2_049_280), ("gas", 1_052_065), ("miniboone", 36_488)):
        assert tuple(map(len, maf_tables.tenths(np.zeros((n, 1))))) == OFFICIAL[table][1:]
    assert tuple(map(len, maf_tables.hold_out_last_tenth(np.zeros((350_136, 1))))) == OFFICIAL["hepmass"][1:3]


def test_power(tmp_path):
    x = np.random.RandomState(0).rand(200, 8) * [5, 1, 250, 20, 2, 2, 18, 1440]
    put(tmp_path / "tabular/power/data.npy", x)
    train, val, test = parts(make("power", tmp_path))
    assert (len(train), len(val), len(test)) == (162, 18, 20)
    # the authors' order of draws: the shuffle, then the noise of voltage, of active power, of the three sub-meters
    rng = np.random.RandomState(42)
    x = x[shuffled(rng, 200)]
    voltage, active, meters = 0.01 * rng.rand(200), 0.001 * rng.rand(200), rng.rand(200, 3)
    kept = np.stack([x[:, 0] + active, x[:, 2] + voltage, *(x[:, 4:7] + meters).T, x[:, 7]], axis=1)
    expected = standardized(kept, kept[:180])
    for found, rows in zip((train, val, test), (expected[:162], expected[162:180], expected[180:]), strict=True):
        assert same(found, rows)


def shuffled(rng: np.random.RandomState, n: int) -> np.ndarray:
    order = np.arange(n)
    rng.shuffle(order)
    return order


def test_gas(tmp_path):
    rng = np.random.RandomState(0)
    x = rng.randn(400, 16)
    x[:, 3] = 2 * x[:, 1] + 0.01 * rng.randn(400)  # of 1, 3 and 9 the last stays; of 5 and 6 as well
    x[:, 9] = -1 + x[:, 3] + 0.01 * rng.randn(400)
    x[:, 6] = x[:, 5] + 0.05 * rng.randn(400)
    x[:, 12] = -x[:, 11]  # opposite, not alike
    put(tmp_path / "tabular/gas/ethylene_CO.npy", x)
    put(tmp_path / "tabular/gas/ethylene_CO.pickle.npy", x)  # whatever else lies there
    (tmp_path / "tabular/gas/ethylene_CO.pickle").write_bytes(b"")
    train, val, test = parts(make("gas", tmp_path, "data.shape=[13]"))
    kept = np.delete(x, [1, 3, 5], axis=1)
    expected = standardized(kept, kept, ddof=1)  # all rows take part, the test's too
    assert same(train, expected[:324]) and same(val, expected[324:360]) and same(test, expected[360:])


def test_columns_are_taken_out_one_after_the_other():
    """A middle one that is near to both sides goes first, and its neighbours, which are not near, stay."""
    rng = np.random.RandomState(0)
    a, b = rng.randn(2, 100_000)
    x = np.stack([a, a + 0.15 * b, a + 0.3 * b], axis=1)  # correlations .989, .958, .990
    assert maf_tables.uncorrelated(x).tolist() == [False, False, True]
    assert maf_tables.uncorrelated(x[:, [1, 0, 2]]).tolist() == [False, True, True]


class Command:
    """What a pickle can do."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("pwned",)


def test_the_pickle_of_gas_is_not_read_but_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tabular/gas/ethylene_CO.pickle"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(Command()))
    with pytest.raises(UserError, match="convert it once in") as raised:
        make("gas", tmp_path).split("train")
    assert "read_pickle('ethylene_CO.pickle')" in str(raised.value) and not Path("pwned").exists()
    np.save(path.with_suffix(".npy"), np.array([Command()]), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        make("gas", tmp_path).split("train")
    assert not Path("pwned").exists()


HEADER = ",".join(["# label", *(f"f{i}" for i in range(27))])


def write_hepmass(folder: Path, train: np.ndarray, test: np.ndarray) -> None:
    """As UCI has them: numbers in full, and a column more in the test file."""
    folder.mkdir(parents=True)
    np.savetxt(folder / "1000_train.csv", train, "%.18e", ",", header=HEADER, comments="")
    mass = np.full((len(test), 1), 1000.0)
    np.savetxt(folder / "1000_test.csv", np.hstack([test, mass]), "%.18e", ",", header=f"{HEADER},mass", comments="")


def test_hepmass(tmp_path):
    rng = np.random.RandomState(0)
    train, test = rng.randn(300, 28), rng.randn(100, 28)
    train[:, 0], test[:, 0] = np.arange(300) % 3 > 0, np.arange(100) % 2
    train[:, 5] = np.arange(300) % 7  # discrete features: their least value comes again and again
    train[:, 8] = np.maximum(train[:, 8], 0)
    train[:, 11] = np.minimum(train[:, 11], 0)  # here it is the largest, which the authors do not look at
    write_hepmass(tmp_path / "tabular/hepmass", train, test)
    found = parts(make("hepmass", tmp_path, "data.shape=[25]"))
    signal, kept = train[train[:, 0] == 1, 1:], [i for i in range(27) if i not in (4, 7)]
    expected = standardized(signal, signal, ddof=1)[:, kept]
    assert same(found[0], expected[:180]) and same(found[1], expected[180:])
    assert same(found[2], standardized(test[test[:, 0] == 1, 1:], signal, ddof=1)[:, kept])


def test_miniboone(tmp_path):
    x = np.random.RandomState(0).randn(110, 43).astype(np.float32) * 3 + 1
    put(tmp_path / "tabular/miniboone/data.npy", x)
    train, val, test = parts(make("miniboone", tmp_path))
    expected = standardized(x, x[:99].astype(np.float64))
    assert same(train, expected[:90]) and same(val, expected[90:99]) and same(test, expected[99:])


def test_bsds300(tmp_path):
    h5py = pytest.importorskip("h5py")
    x = np.random.RandomState(0).randn(60, 63)
    path = tmp_path / "tabular/BSDS300/BSDS300.hdf5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["train"], file["validation"], file["test"] = x[:40], x[40:50], x[50:]
    assert same(np.concatenate(parts(make("bsds300", tmp_path))), x)
    path.write_bytes(b"no hdf5")
    with pytest.raises(UserError, match="cannot be read"):
        make("bsds300", tmp_path).split("train")


def test_bsds300_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UserError, match="pip install h5py"):
        make("bsds300", tmp_path).split("train")


@pytest.mark.parametrize(("table", "load"), [("breast_cancer", load_breast_cancer), ("wine", load_wine)])
def test_tables_of_scikit_learn(table, load, tmp_path):
    train, val, test = parts(make(table, tmp_path, verify=True))
    official = load().data
    known = np.concatenate([train, val]).astype(np.float64)
    assert np.abs(known.mean(0)).max() < 1e-5 and np.abs(known.std(0) - 1).max() < 1e-5
    found = np.concatenate([known, test])
    for column in range(official.shape[1]):  # the same rows in another order, each column moved and scaled
        assert np.abs(np.corrcoef(np.sort(found[:, column]), np.sort(official[:, column]))[0, 1] - 1) < 1e-6
    assert not any(path.is_file() for path in tmp_path.rglob("*")), "and no file is needed"
    expected = {"breast_cancer": (0.07525, -0.56092), "wine": (0.69849, -0.56277)}[table]
    assert np.allclose(test[0, :2], expected, atol=1e-4), "the rows of every run on it are these"


def test_other_numbers_of_rows_are_refused_unless_asked_for(tmp_path):
    put(tmp_path / "tabular/miniboone/data.npy", np.random.RandomState(0).randn(110, 43))
    with pytest.raises(UserError, match=r"\[90, 9, 11\] rows .* expected \[29556, 3284, 3648\]"):
        make("miniboone", tmp_path, verify=True).split("train")


@pytest.mark.parametrize(
    ("table", "file", "write"),
    [
        ("power", "power/data.npy", lambda path: put(path, np.zeros((9, 7)))),
        ("power", "power/data.npy", lambda path: put(path, np.array(["a"] * 8)[None])),
        ("miniboone", "miniboone/data.npy", lambda path: path.write_bytes(b"\x93NUMPY")),
        ("hepmass", "hepmass/1000_train.csv", lambda path: path.write_text(f"{HEADER}\n1,2,three\n")),
    ],
)
def test_broken_files_are_refused(table: str, file: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "tabular" / file
    path.parent.mkdir(parents=True)
    write(path)
    with pytest.raises(UserError, match="cannot be read"):
        make(table, tmp_path).split("train")


# The archive


def pack(root: Path, files: dict[str, bytes]) -> Path:
    """An archive like the authors', with these members."""
    archive = root / "tabular/data.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def npy(x: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, x)
    return content.getvalue()


def test_one_file_is_taken_out_of_the_archive_and_nothing_else(tmp_path):
    x = np.random.RandomState(0).randn(110, 43)
    files = {"data/mnist/mnist.pkl.gz": b"", "data/../../evil": b"", "data/miniboone/data.npy": npy(x)}
    archive = pack(tmp_path, files)
    assert len(parts(make("miniboone", tmp_path))[0]) == 90
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"tabular/data.tar.gz", "tabular/miniboone/data.npy"}
    archive.unlink()
    assert len(parts(make("miniboone", tmp_path))[0]) == 90, "what is unpacked is found again"


def test_the_archive_must_be_the_published_one(tmp_path):
    pack(tmp_path, {"data/miniboone/data.npy": npy(np.zeros((110, 43)))})
    with pytest.raises(UserError, match="expected 9b9c9b0375315ad270eba4ce80c093ab"):
        make("miniboone", tmp_path, verify=True).split("train")


@pytest.mark.parametrize("damage", ["empty", "cut", "link"])
def test_a_broken_archive_is_refused_and_leaves_nothing(damage, tmp_path):
    archive = pack(tmp_path, {"data/miniboone/data.npy": npy(np.random.RandomState(0).randn(500, 43))})
    if damage == "cut":
        archive.write_bytes(archive.read_bytes()[:-20_000])
    if damage == "empty":
        pack(tmp_path, {})
    if damage == "link":
        with tarfile.open(archive, "w:gz") as tar:
            member = tarfile.TarInfo("data/miniboone/data.npy")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    with pytest.raises(UserError, match="cannot be read"):
        make("miniboone", tmp_path).split("train")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["data.tar.gz"]


def test_a_table_that_is_nowhere_is_asked_for(tmp_path):
    with pytest.raises(UserError, match="put the official data.tar.gz into the folder"):
        make("power", tmp_path).split("train")


def test_a_misspelt_table_is_refused():
    overrides = ["data=tabular", "data.table=powr", "model=realnvp_points", "name=x", "run_dir=x"]
    with pytest.raises(UserError, match="^data.table is 'powr', expected one of power, gas, [^;]*$"):
        check(resolved(compose_config("train", overrides)), Train)
