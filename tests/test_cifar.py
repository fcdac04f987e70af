"""CIFAR-10 and CIFAR-100 in all official versions, and what is missing, broken or of absurd size."""

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from genmodels.data import cifar
from genmodels.data.base import Data
from genmodels.data.cifar10 import CIFAR10
from genmodels.data.cifar100 import CIFAR100
from genmodels.errors import UserError
from tests.python2_pickle import pickled
from tests.test_data import make

N = 20  # images in a file
LABELS = {CIFAR10: {b"labels": 10}, CIFAR100: {b"coarse_labels": 20, b"fine_labels": 100}}


def write_cifar(root: Path, kind: type[cifar.CIFAR], version: str) -> np.ndarray:
    """An official folder with N images in each file; returns its rows, label bytes and planes."""
    is_python = version == "python"
    names = kind.versions[is_python]
    labels = LABELS[kind]
    rng = np.random.RandomState(0)
    rows = rng.randint(256, size=(len(kind.rows), N, len(labels) + 3072), dtype=np.uint8)
    for i, classes in enumerate(labels.values()):
        rows[:, :, i] = (np.arange(N) * 7 + i) % classes
        rows[:, 0, i] = classes - 1
    (root / names.folder).mkdir(parents=True)
    for file, content in zip(names.files, rows, strict=True):
        batch = {
            b"batch_label": b"training batch 1 of 5",
            **{label: content[:, i].tolist() for i, label in enumerate(labels)},
            b"data": content[:, len(labels) :],
            b"filenames": [f"name_{i}.png".encode() for i in range(N)],
        }
        (root / names.folder / file).write_bytes(pickled(batch) if is_python else content.tobytes())
    return rows


def pack(root: Path, kind: type[cifar.CIFAR], version: str) -> Path:
    """Turns the folder into the official archive."""
    names = kind.versions[version == "python"]
    with tarfile.open(root / names.archive, "w:gz") as tar:
        tar.add(root / names.folder, names.folder)
    (root / names.folder).rename(root / "elsewhere")
    return root / names.archive


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in LABELS:
        monkeypatch.setattr(kind, "rows", (N,) * len(kind.rows))


def make_cifar(root: Path, kind: type[cifar.CIFAR], **changes: object) -> Data:
    return make(kind.__name__.lower(), root=str(root), n_validation=5, **changes)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize(("kind", "classes"), [(CIFAR10, 10), (CIFAR100, 100), (CIFAR100, 20)])
def test_all_versions_of_cifar_hold_the_same(
    tmp_path: Path, kind: type[cifar.CIFAR], classes: int, version: str, packed: bool
) -> None:
    rows = write_cifar(tmp_path, kind, version)
    md5 = hashlib.md5(pack(tmp_path, kind, version).read_bytes()).hexdigest() if packed else "of no file"
    data = make_cifar(tmp_path, kind, classes=classes, md5=[md5, md5])
    column = list(LABELS[kind].values()).index(classes)
    test = data.split("test")
    assert test.x.numpy().tobytes() == rows[-1][:, len(LABELS[kind]) :].tobytes()
    assert test.x.shape == (N, 3, 32, 32) and test.condition["label"].tolist() == rows[-1][:, column].tolist()
    every = torch.cat([data.split("train").x, data.split("val").x]).flatten(1).numpy()
    planes = rows[:-1, :, len(LABELS[kind]) :].reshape(-1, 3072)
    assert sorted(map(bytes, every)) == sorted(map(bytes, planes))
    first = data.split("train")
    assert {planes[i].tobytes(): y for i, y in enumerate(rows[:-1, :, column].flatten())}[
        first.x[3].numpy().tobytes()
    ] == first.condition["label"][3]


def test_the_order_of_versions(tmp_path: Path) -> None:
    """Binary before python, a folder before its archive: shown by damage to the one that is taken."""
    for version in ("binary", "python"):
        write_cifar(tmp_path, CIFAR10, version)
    for version, file in (("binary", "data_batch_1.bin"), ("python", "data_batch_1")):
        folder, archive, *_ = CIFAR10.versions[version == "python"]
        (tmp_path / folder / file).write_bytes(b"x")
        (tmp_path / archive).write_bytes(b"y")
        with pytest.raises(UserError, match=f"{folder}/{file} cannot be read"):
            make_cifar(tmp_path, CIFAR10).split("train")
        (tmp_path / folder).rename(tmp_path / f"elsewhere {version}")
        with pytest.raises(UserError, match=f"{archive} has md5"):
            make_cifar(tmp_path, CIFAR10).split("train")
        (tmp_path / archive).unlink()


def test_the_split_is_the_same_for_fine_and_coarse_labels(tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR100, "binary")
    fine, coarse = (make_cifar(tmp_path, CIFAR100, classes=n).split("val") for n in (100, 20))
    assert fine.x.equal(coarse.x) and not fine.condition["label"].equal(coarse.condition["label"])


def test_classes_that_cifar_does_not_have(tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR100, "binary")
    with pytest.raises(UserError, match="has no 10 classes, expected 20 or 100"):
        make_cifar(tmp_path, CIFAR100, classes=10).split("train")


def test_a_pickle_that_is_refused_is_a_broken_file(tmp_path: Path) -> None:
    write_cifar(tmp_path, CIFAR10, "python")
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"\x80\x02cposix\nsystem\nU\x02id\x85R.")
    with pytest.raises(
        UserError, match=r"data_batch_1 cannot be read \(it names posix.*expected the complete official file"
    ):
        make_cifar(tmp_path, CIFAR10).split("train")


def test_an_unpacked_file_of_absurd_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, CIFAR10, "binary")
    with (tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin").open("wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(cifar, "MAX_CIFAR_BYTES", 1 << 20)
    with pytest.raises(UserError, match="data_batch_1.bin cannot be read .it holds more than"):
        make_cifar(tmp_path, CIFAR10).split("train")


@pytest.mark.parametrize("kept", [0, 1, 100, 5000, -1000, -1])
def test_truncated_archives(tmp_path: Path, kept: int) -> None:
    write_cifar(tmp_path, CIFAR100, "python")
    archive = pack(tmp_path, CIFAR100, "python")
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(UserError, match="cifar-100-python.tar.gz cannot be read .*delete it"):
        make_cifar(tmp_path, CIFAR100, verify=False).split("train")


def test_an_archive_without_a_file_or_with_too_few_images(tmp_path: Path) -> None:
    rows = write_cifar(tmp_path, CIFAR100, "binary")
    (tmp_path / "cifar-100-binary" / "test.bin").write_bytes(rows[1, 1:].tobytes())
    with pytest.raises(UserError, match="test.bin cannot be read .it has 19 images instead of 20"):
        make_cifar(tmp_path, CIFAR100).split("train")
    (tmp_path / "cifar-100-binary" / "test.bin").unlink()
    with pytest.raises(UserError, match="test.bin is not there, expected all of train.bin, test.bin"):
        make_cifar(tmp_path, CIFAR100).split("train")
    pack(tmp_path, CIFAR100, "binary")
    with pytest.raises(UserError, match="cifar-100-binary.tar.gz cannot be read .test.bin is missing"):
        make_cifar(tmp_path, CIFAR100, verify=False).split("train")


@pytest.mark.parametrize(("version", "md5"), [("binary", "03b5dce0"), ("python", "eb9058c3")])
def test_archives_with_another_md5(tmp_path: Path, version: str, md5: str) -> None:
    write_cifar(tmp_path, CIFAR100, version)
    pack(tmp_path, CIFAR100, version)
    with pytest.raises(UserError, match=f"cifar-100-{version}.tar.gz has md5 .* expected {md5}.*data.verify=false"):
        make_cifar(tmp_path, CIFAR100).split("train")


def test_no_file_and_no_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"put the official cifar-100-binary.tar.gz into the folder {tmp_path}"):
        make_cifar(tmp_path, CIFAR100, urls=[]).split("train")
