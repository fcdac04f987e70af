"""Datasets: official formats, splits, facts, binarization, and what broken or missing files say."""

import gzip
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import pytest
import requests
import torch
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationResolutionError

from genmodels.config import compose  # noqa: F401  its resolvers
from genmodels.config.shipped import CONFIGS
from genmodels.data import files
from genmodels.data.base import Data, hold_out, labelled
from genmodels.data.transforms import bernoulli, random_flip
from genmodels.errors import UserError
from genmodels.failures import explain

NAMES = ["digits", "mnist", "mnist_dynamic", "fashion_mnist", "cifar10", "npz"]


def make(name: str, **changes: object) -> Data:
    """A dataset from its YAML, with changes."""
    config = OmegaConf.load(CONFIGS / "data" / f"{name}.yaml")
    try:
        return hydra.utils.instantiate(OmegaConf.merge(config, changes))
    except InstantiationException as error:
        raise error.__cause__ or error from None
    except InterpolationResolutionError as error:
        raise UserError(explain(error)[0]) from None


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    sizes = np.array(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()))


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A root with the four MNIST files, small: 60 training and 20 test images."""
    rng = np.random.RandomState(0)
    for prefix, n in (("train", 60), ("t10k", 20)):
        write_idx(tmp_path / f"mnist/{prefix}-images-idx3-ubyte.gz", rng.randint(256, size=(n, 28, 28), dtype=np.uint8))
        write_idx(tmp_path / f"mnist/{prefix}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8) % 10)
    return tmp_path


def small(root: Path, name: str = "mnist", **changes: object) -> Data:
    return make(name, root=str(root), verify=False, n_validation=10, **changes)


def test_digits_are_sklearns_in_a_fixed_disjoint_split() -> None:
    data = make("digits")
    splits = [data.split(name) for name in ("train", "val", "test")]
    assert [len(split.x) for split in splits] == [1297, 200, 300]
    rows = torch.cat([split.x for split in splits]).flatten(1)
    assert rows.dtype == torch.uint8 and rows.max() == 16
    from sklearn.datasets import load_digits

    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, load_digits().data.astype(int).tolist()))
    assert data.split("train") is data.split("train") is data.training_split()


def test_digits_split_never_changes() -> None:
    """The numbers of every digits run rest on these; a change here makes them incomparable."""
    data = make("digits")
    assert [data.fingerprint(name)[:8] for name in ("train", "val", "test")] == ["a21c4f7c", "6dc676bc", "d0751a1c"]
    assert data.split("test").condition["label"][:10].tolist() == [4, 5, 6, 9, 4, 7, 8, 9, 6, 9]


def test_fingerprint_is_of_dtype_shape_and_bytes(tmp_path: Path) -> None:
    x, y = np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), np.array([0, 1, 1])
    np.savez(
        tmp_path / "a.npz", images=np.concatenate([x, x]), labels=np.concatenate([y, y]), test_images=x, test_labels=y
    )
    data = make("npz", path=str(tmp_path / "a.npz"), shape=[1, 2, 2], classes=2, n_validation=1)
    content = b"|u1 (3, 1, 2, 2) " + x.tobytes() + b"<i8 (3,) " + y.astype("<i8").tobytes()
    assert data.fingerprint("test") == hashlib.sha256(content).hexdigest()
    np.savez(tmp_path / "a.npz", images=np.concatenate([x, x]), test_images=x)
    assert data.fingerprint("test") == hashlib.sha256(content).hexdigest()  # read once
    data = make("npz", path=str(tmp_path / "a.npz"), shape=[1, 2, 2], n_validation=1)
    assert data.fingerprint("test") != hashlib.sha256(content).hexdigest()


def test_mnist_files_are_read(mnist: Path) -> None:
    data = small(mnist)
    images = np.random.RandomState(0).randint(256, size=(60, 28, 28), dtype=np.uint8)
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert (len(train.x), len(val.x), len(test.x)) == (50, 10, 20)
    assert test.condition["label"].tolist() == [i % 10 for i in range(20)]
    every = {tuple(row) for row in images.reshape(60, -1)}
    assert {tuple(row) for row in torch.cat([train.x, val.x]).flatten(1).numpy()} == every
    assert (
        (train.x[train.condition["label"] == 3][0, 0].numpy() == images[3::10]).all((1, 2)).any()
    )  # labels stay with their images


def test_dynamic_binarization(mnist: Path) -> None:
    """Training draws anew at every visit with the grey value as probability; the splits are one fixed draw."""
    data, again, grey = small(mnist, "mnist_dynamic"), small(mnist, "mnist_dynamic"), small(mnist)
    assert data.split("test").x.unique().tolist() == [0, 1]
    assert all(data.fingerprint(name) == again.fingerprint(name) for name in ("train", "val", "test"))
    assert data.training_split().x.equal(grey.split("train").x)
    x = data.training_split().x[:4]
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([data.transform(x, generator) for _ in range(2000)])
    assert draws.dtype == torch.uint8 and draws.max() == 1
    z = (draws.float().mean(0) - x / 255) / (x / 255 * (1 - x / 255) / 2000).sqrt().clamp(min=1e-3)
    assert z.abs().max() < 5 and 0.9 < z.std() < 1.1
    fixed = (data.split("train").x.float() - data.training_split().x / 255).mean()
    assert fixed.abs() < 4 * (1 / 6 / (50 * 784)) ** 0.5  # mean variance of Bernoulli(u), u uniform, is 1/6


def test_bernoulli_is_certain_at_the_ends() -> None:
    x = torch.tensor([0, 255], dtype=torch.uint8).repeat(10000)
    assert bernoulli(x, torch.Generator().manual_seed(0)).equal((x > 0).to(torch.uint8))


def test_flips_are_seeded_and_only_horizontal() -> None:
    x = torch.arange(64 * 2 * 3 * 4).view(64, 2, 3, 4).to(torch.uint8)
    seen = random_flip(x, torch.Generator().manual_seed(1))
    flipped = (seen == x.flip(-1)).flatten(1).all(1)
    assert (flipped | (seen == x).flatten(1).all(1)).all() and 16 < flipped.sum() < 48
    assert seen.equal(random_flip(x, torch.Generator().manual_seed(1)))
    assert not seen.equal(random_flip(x, torch.Generator().manual_seed(2)))


@pytest.mark.parametrize("flip", [False, True])
def test_flip_is_the_configs_choice_and_never_in_a_split(flip: bool) -> None:
    data, plain = make("digits", flip=flip), make("digits")
    x = data.split("val").x
    assert x.equal(plain.split("val").x)
    assert data.transform(x, torch.Generator().manual_seed(0)).equal(x) is not flip


@pytest.mark.parametrize("layout", ["nhwc", "nchw", "nhw"])
def test_npz_layouts(tmp_path: Path, layout: str) -> None:
    c = 1 if layout == "nhw" else 3
    x = np.random.RandomState(0).randint(256, size=(30, c, 4, 5), dtype=np.uint8)
    stored = {"nhwc": x.transpose(0, 2, 3, 1), "nchw": x, "nhw": x[:, 0]}[layout]
    np.savez(tmp_path / "a.npz", arr_0=stored)
    data = make("npz", path=str(tmp_path / "a.npz"), shape=[c, 4, 5], n_test=5, n_validation=5)
    _, test = hold_out(labelled(torch.from_numpy(x), None), 5, 0, "n_test")
    assert data.split("test").x.equal(test.x) and data.split("test").condition == {}
    assert len(data.split("train").x) == 20


def test_npz_with_a_test_file_and_points(tmp_path: Path) -> None:
    points = np.random.RandomState(0).randn(30, 2)
    np.savez(tmp_path / "a.npz", x=points, y=np.arange(30) % 3)
    np.savez(tmp_path / "b.npz", x=points[:7], y=np.arange(7) % 3)
    paths = {"path": str(tmp_path / "a.npz"), "test_path": str(tmp_path / "b.npz")}
    data = make("npz", **paths, shape=[2], levels=None, classes=3, n_validation=5)
    assert data.split("test").x.dtype == torch.float32 and data.split("test").condition["label"].tolist() == [
        0,
        1,
        2,
        0,
        1,
        2,
        0,
    ]
    assert len(data.split("train").x) == 25


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("digits", {"shape": [1, 28, 28]}, r"shape \[1, 8, 8\].*data.shape"),
        ("digits", {"levels": 16}, "17 levels.*data.levels=17"),
        ("digits", {"levels": 256}, "17 levels.*data.levels=17"),
        ("digits", {"classes": 9}, "10 classes.*data.classes=10"),
        ("digits", {"n_validation": 5000}, "hold out 5000 of 1497"),
        ("digits", {"n_validation": 0}, "val split of digits is empty"),
        ("digits", {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_wrong_facts_are_refused(name: str, changes: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make(name, **changes).split("val")


@pytest.mark.parametrize(
    ("arrays", "shape", "levels"),
    [
        ({"images": np.zeros((9, 4, 5), np.uint8)}, [1, 4, 5], 256),
        ({"arr_0": np.zeros((9, 4, 5, 3), np.uint8)}, [3, 4, 5], 256),
        ({"images": np.zeros((9, 3, 4, 5), np.uint8)}, [3, 4, 5], 256),
        ({"images": np.zeros((9, 4, 5), np.uint8), "levels": np.array(17)}, [1, 4, 5], 17),
        ({"x": np.zeros((9, 6), np.int32), "levels": np.array([65])}, [6], 65),
        ({"x": np.zeros((9, 2))}, [2], None),
    ],
)
def test_shape_and_levels_of_an_npz_are_read_from_it(tmp_path, arrays, shape, levels):
    np.savez(tmp_path / "a.npz", **arrays)
    data = make("npz", path=str(tmp_path / "a.npz"), n_test=2, n_validation=2)
    assert (list(data.shape), data.levels) == (shape, levels)
    assert tuple(data.split("train").x.shape) == (5, *shape)


def test_an_npz_of_another_order_of_bytes(tmp_path):
    x = np.arange(36).reshape(9, 4)
    np.savez(tmp_path / "a.npz", x=x.astype(">i4"), y=(np.arange(9) % 3).astype(">i8"))
    data = make("npz", path=str(tmp_path / "a.npz"), levels=36, classes=3, n_test=0, n_validation=0)
    assert torch.equal(data.split("train").x.long(), torch.from_numpy(x))
    assert data.split("train").condition["label"].tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize(
    ("arrays", "changes", "says"),
    [
        ({"pictures": 0}, {}, "keys pictures, expected one of images"),
        ({"images": np.zeros((9, 4, 4))}, {"levels": 256}, "float64.*expected integers 0..255"),
        ({"images": np.zeros((9, 5, 5), np.uint8)}, {}, r"shape \(9, 5, 5\).*\[1, 4, 4\]"),
        ({"images": np.full((9, 4, 4), 7, np.uint8)}, {"levels": 7}, "values 7..7, expected 0..6"),
        ({"images": np.zeros((9, 4, 4), np.uint8)}, {"classes": 2}, "expected one of labels"),
        (
            {"images": np.zeros((9, 4, 4), np.uint8), "y": np.arange(9)},
            {"classes": 2},
            "labels 0..[678], expected 0..1",
        ),
        ({"images": np.zeros((9, 4, 4), np.uint8), "y": np.arange(8)}, {"classes": 9}, r"shape \(8,\)"),
        ({"images": np.array([{}] * 9)}, {}, "cannot be read.*allow_pickle"),
    ],
)
def test_wrong_npz_files_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], changes: dict[str, object], says: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    sizes = {"shape": [1, 4, 4], "n_test": 2, "n_validation": 2}
    with pytest.raises(UserError, match=says):
        make("npz", path=str(tmp_path / "a.npz"), **(sizes | changes)).split("train")


@pytest.mark.parametrize("content", [None, b"", b"PK\3\4 broken"])
def test_missing_or_broken_npz(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a.npz (is not there|cannot be read)"):
        make("npz", path=str(tmp_path / "a.npz"), shape=[1, 4, 4]).split("train")


def test_wrong_checksum(mnist: Path) -> None:
    with pytest.raises(UserError, match="train-images.*has md5 .* expected f68b3c2d.*data.verify=false"):
        make("mnist", root=str(mnist)).split("train")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-100], lambda b: b"no gzip" + b, lambda b: gzip.compress(b"\0\0\x08\3"), lambda b: b[:5]]
)
def test_truncated_or_broken_idx(mnist: Path, damage: Callable[[bytes], bytes]) -> None:
    path = mnist / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="train-images.*cannot be read .*delete it"):
        small(mnist).split("train")


@pytest.mark.parametrize("name", ["mnist", "mnist_dynamic", "fashion_mnist", "cifar10"])
def test_no_file_and_no_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise requests.exceptions.ConnectionError("no network")

    monkeypatch.setattr(requests, "get", fail)
    with pytest.raises(UserError, match=f"could not be downloaded .*ConnectionError.*put the official .*{tmp_path}"):
        make(name, root=str(tmp_path)).split("train")


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """The internet, reduced to one file."""

    def get(url: str, **kwargs: object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO(content)
        response.headers["content-length"] = str(len(content))
        return response

    monkeypatch.setattr(requests, "get", get)


def test_downloads_are_verified_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, url, md5 = tmp_path / "folder" / "file.gz", "https://example.org/file.gz", hashlib.md5(b"right").hexdigest()
    serve(monkeypatch, b"wrong")
    with pytest.raises(UserError, match="the checksum is not md5:"):
        files.fetch(path, [url], md5, verify=False)
    assert not list(path.parent.iterdir())
    serve(monkeypatch, b"right")
    assert files.fetch(path, [url], md5, verify=True).read_bytes() == b"right"
    monkeypatch.undo()
    assert files.fetch(path, [], md5, verify=True) == path


def test_nothing_is_read_before_the_first_split(tmp_path: Path) -> None:
    for name in NAMES[1:5]:
        assert make(name, root=str(tmp_path / "missing")).batch_size == 128


@pytest.mark.parametrize(
    ("name", "first"), [("mnist", 60000), ("mnist_dynamic", 60000), ("fashion_mnist", 60000), ("cifar10", 50000)]
)
def test_real_files(name: str, first: int) -> None:
    folder = {"cifar10": "cifar-10-batches-bin", "fashion_mnist": "fashion_mnist"}.get(name, "mnist")
    root = os.environ.get("GENMODELS_DATA")
    if root is None or not (Path(root) / folder).is_dir():
        pytest.skip(f"GENMODELS_DATA has no {folder}")
    data = make(name)
    assert (len(data.split("train").x), len(data.split("val").x), len(data.split("test").x)) == (
        first - 5000,
        5000,
        10000,
    )
