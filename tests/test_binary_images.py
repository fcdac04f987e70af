"""Static MNIST and Omniglot: official formats, splits, the draw of Omniglot's pixels, and broken files."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from genmodels.data import mnist_static
from genmodels.data.base import Data
from genmodels.errors import UserError
from tests.test_data import make


@pytest.fixture
def static(tmp_path: Path) -> dict[str, np.ndarray]:
    """The three files below a root, with 30, 10 and 12 images."""
    (tmp_path / "mnist_static").mkdir()
    rng = np.random.RandomState(0)
    images = {name: rng.randint(2, size=(n, 784)) for name, n in (("train", 30), ("valid", 10), ("test", 12))}
    for name, x in images.items():
        np.savetxt(tmp_path / "mnist_static" / f"binarized_mnist_{name}.amat", x, "%d")
    return images


def test_static_mnist_has_three_official_splits(tmp_path: Path, static: dict[str, np.ndarray]) -> None:
    data = make("mnist_static", root=str(tmp_path), verify=False)
    for name, file in (("train", "train"), ("val", "valid"), ("test", "test")):
        split = data.split(name)
        assert split.condition == {} and split.x.dtype == torch.uint8 and split.x.shape[1:] == (1, 28, 28)
        assert (split.x.flatten(1).numpy() == static[file]).all()
    x = data.training_split().x
    assert x is data.split("train").x and data.transform(x, torch.Generator()) is x
    assert mnist_static.MAX_AMAT_BYTES == 78_400_000


def test_static_mnist_is_verified(tmp_path: Path, static: dict[str, np.ndarray]) -> None:
    with pytest.raises(UserError, match="binarized_mnist_train.amat has sha256 .* expected ad693b29"):
        make("mnist_static", root=str(tmp_path)).split("train")
    folder = tmp_path / "mnist_static"
    names = [folder / f"binarized_mnist_{name}.amat" for name in static]
    found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in names]
    assert len(make("mnist_static", root=str(tmp_path), sha256=found).split("train").x) == 30


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: b"",
        lambda text: text.replace(b"1", b"2", 1),
        lambda text: text.replace(b"1", b"/", 1),
        lambda text: text.replace(b" ", b",", 1),
        lambda text: text.replace(b"\n", b" ", 1),
        lambda text: text.replace(b" ", b"\n", 1),
    ],
)
def test_static_mnist_with_another_text(
    tmp_path: Path, static: dict[str, np.ndarray], damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "mnist_static" / "binarized_mnist_valid.amat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="binarized_mnist_valid.amat cannot be read"):
        make("mnist_static", root=str(tmp_path), verify=False).split("train")


def test_levels_of_static_mnist(tmp_path: Path, static: dict[str, np.ndarray]) -> None:
    with pytest.raises(UserError, match="has 2 levels, got 256"):
        make("mnist_static", root=str(tmp_path), verify=False, levels=256).split("train")


def letter(n: int) -> np.ndarray:
    """Ink of n pictures of an L, (n, 28, 28): down the left side, and along the bottom; the i-th is a bit darker."""
    x = np.zeros((n, 28, 28))
    x[:, 4:24, 5] = 1
    x[:, 23, 6:15] = np.linspace(0.2, 0.9, n)[:, None]
    return x


def write_omniglot(root: Path, compress: bool = True, **changes: object) -> Path:
    """The official file, with 60 and 55 pictures."""
    (root / "omniglot").mkdir(exist_ok=True)
    variables = {"__header__": "", "characters": np.array(["a", "b"], dtype=object)}
    for prefix, n in (("", 60), ("test", 55)):
        alphabet = np.arange(n) % 50
        variables[f"{prefix}data"] = letter(n).transpose(2, 1, 0).reshape(784, n)  # columns first, as MATLAB's x(:)
        variables[f"{prefix}target"] = np.eye(50)[alphabet].T
        variables[f"{prefix}targetchar"] = alphabet[None] + 1.0
    path = root / "omniglot" / "chardata.mat"
    savemat(path, {**variables, **changes}, do_compression=compress)
    return path


def make_omniglot(root: Path, **changes: object) -> Data:
    return make("omniglot", **{"root": str(root), "verify": False, "n_validation": 10, **changes})


@pytest.mark.parametrize("compress", [False, True])
def test_omniglot_is_upright_and_keeps_its_alphabets(tmp_path: Path, compress: bool) -> None:
    write_omniglot(tmp_path, compress)
    data = make_omniglot(tmp_path)
    ink = data.training_split()
    assert ink.x.shape == (50, 1, 28, 28) and ink.x.dtype == torch.float32
    assert ink.x[0, 0, 4:24, 5].eq(1).all() and ink.x[0, 0, 23, 6:15].gt(0).all() and ink.x[0, 0, :20, 6:].eq(0).all()
    expected = {round(float(x[23, 9]), 5): i % 50 for i, x in enumerate(letter(60))}
    assert [expected[round(float(x), 5)] for x in ink.x[:, 0, 23, 9]] == ink.condition["label"].tolist()
    test = data.split("test")
    assert (
        test.x.dtype == torch.uint8
        and test.x.max() == 1
        and test.condition["label"].tolist() == [i % 50 for i in range(55)]
    )
    assert [len(data.split(name).x) for name in ("train", "val")] == [50, 10]


def test_omniglot_is_drawn_anew_in_training_and_once_in_the_splits(tmp_path: Path) -> None:
    write_omniglot(tmp_path)
    data, again, other = make_omniglot(tmp_path), make_omniglot(tmp_path), make_omniglot(tmp_path, split_seed=1)
    for name in ("train", "val", "test"):
        assert data.fingerprint(name) == again.fingerprint(name) != other.fingerprint(name)
    ink = data.training_split().x
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([data.transform(ink, generator) for _ in range(500)])
    assert draws.dtype == torch.uint8
    inside = (ink > 0) & (ink < 1)
    assert (draws == (ink > 0))[:, ~inside].all()
    z = ((draws.float().mean(0) - ink) / (ink * (1 - ink) / 500).sqrt())[inside]
    assert z.abs().max() < 5 and 0.8 < z.std() < 1.2
    fixed = (data.split("train").x.float() - ink)[inside]
    assert fixed.mean().abs() < 5 * (0.25 / len(fixed)) ** 0.5


def test_omniglot_has_the_published_numbers_of_images(tmp_path: Path) -> None:
    write_omniglot(tmp_path)
    with pytest.raises(
        UserError, match=r"chardata.mat cannot be read .it has 60 \+ 55 images instead of 24345 \+ 8070"
    ):
        make_omniglot(tmp_path, verify=True).split("train")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": np.zeros((784, 59))}, "targets of shape"),
        ({"data": np.zeros((783, 60))}, r"pixels of shape \(783, 60\)"),
        ({"data": np.full((784, 60), 255.0)}, "in 0..1"),
        ({"data": np.full((784, 60), np.nan)}, "in 0..1"),
        ({"data": np.zeros((784, 60)) * 1j}, "no array of real numbers"),
        ({"data": {"a": 1}}, "no array of real numbers"),
        ({"data": "text"}, "no array of real numbers"),
        ({"target": np.zeros((50, 60))}, "targets"),
    ],
)
def test_other_variables_in_omniglots_file(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    write_omniglot(tmp_path, **changes)
    with pytest.raises(UserError, match=f"chardata.mat cannot be read .*{says}"):
        make_omniglot(tmp_path).split("train")


@pytest.mark.parametrize(
    "content",
    [b"", b"MATLAB", bytes(200), b"\x89HDF\r\n" + bytes(200), bytes(124) + b"\0\1IM\x0e\0\0\0\xff\xff\xff\xff"],
)
def test_what_is_no_matlab_file(tmp_path: Path, content: bytes) -> None:
    write_omniglot(tmp_path).write_bytes(content)
    with pytest.raises(UserError, match="chardata.mat cannot be read"):
        make_omniglot(tmp_path).split("train")


@pytest.mark.parametrize("name", ["mnist_static", "omniglot"])
def test_no_file_and_no_network(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"put the official .* into the folder {tmp_path}/{name}"):
        make(name, root=str(tmp_path), urls=[]).split("train")
