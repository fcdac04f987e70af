"""Files and archives that want to do harm: members that point elsewhere, links, and what unpacks to too much."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from genmodels.data import cifar, files, mnist
from genmodels.errors import UserError
from tests.test_data import make, write_idx


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def member(name: str, **facts: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize("name", ["/tmp/genmodels_attack/train.bin", "../../train.bin", "a/../../../train.bin"])
def test_members_that_point_elsewhere_are_only_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.tar.gz").write_bytes(tar((member(name), b"content")))
    assert files.untar(tmp_path / "a.tar.gz", ["train.bin"], 10**6) == {"train.bin": b"content"}
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tar.gz"] and not Path("/tmp/genmodels_attack").exists()


def test_an_archive_in_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar((member("train.bin"), b"content"))))
    with pytest.raises(UserError, match="a.tar.gz cannot be read"):
        files.untar(tmp_path / "a.tar.gz", ["train.bin"], 10**6)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_no_files(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(tar((member("train.bin", type=kind, linkname="/etc/passwd"), b"")))
    assert files.untar(tmp_path / "a.tar.gz", ["train.bin"], 10**6) == {}


def test_a_sparse_member_is_no_file(tmp_path: Path) -> None:
    """It would be read as so many zeros, of which none is in the archive."""
    facts = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(10**15), "GNU.sparse.realsize": str(10**15)}
    info = member("train.bin", pax_headers=facts)
    (tmp_path / "a.tar.gz").write_bytes(tar((info, b"")))
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        assert archive.next().size == 10**15
    assert files.untar(tmp_path / "a.tar.gz", ["train.bin"], 10**6) == {}


def bomb(path: Path, content: bytes, zeros: int) -> None:
    """A .gz of some content and then zeros, of a thousandth of the size."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(content)
        for _ in range(zeros >> 20):
            file.write(bytes(1 << 20))


def test_bombs_are_refused_before_they_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = member("cifar-10-batches-bin/data_batch_1.bin", size=1 << 24).tobuf()
    bomb(tmp_path / "cifar-10-binary.tar.gz", header, 1 << 24)
    read = 0
    whole = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int) -> bytes:
        nonlocal read
        found = whole(self, size)
        read += len(found)
        return found

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    monkeypatch.setattr(cifar, "MAX_CIFAR_BYTES", 1 << 20)
    monkeypatch.setattr(mnist, "MAX_IDX_BYTES", 1 << 20)
    with pytest.raises(UserError, match=f"cifar-10-binary.tar.gz cannot be read .it holds more than {1 << 20} bytes"):
        make("cifar10", root=str(tmp_path), verify=False).split("train")
    (tmp_path / "mnist").mkdir()
    bomb(tmp_path / "mnist" / "train-images-idx3-ubyte.gz", b"\0\0\x08\3" + bytes(12), 1 << 24)
    with pytest.raises(UserError, match=f"train-images-idx3-ubyte.gz cannot be read .it holds more than {1 << 20}"):
        make("mnist", root=str(tmp_path), verify=False).split("train")
    assert read <= 2 * ((1 << 20) + 1)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2,)])
def test_idx_files_of_other_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write_idx(tmp_path / "mnist" / "train-images-idx3-ubyte.gz", np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match="train-images-idx3-ubyte.gz cannot be read .it starts with"):
        make("mnist", root=str(tmp_path), verify=False).split("train")
