"""Finds official files in their folder and verifies their checksums, or else downloads them; and reads them.

pooch downloads. Existing files are verified here, since pooch would overwrite a person's file with another checksum.
Reading into memory has a limit above the size of the official files, so that a small file that unpacks to a huge one
is refused before it fills the memory. Nothing is unpacked to disk.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from genmodels.errors import UserError

CHECKSUM_KINDS = {32: "md5", 64: "sha256"}  # of a checksum, by its length


def fetch(path: Path, urls: Sequence[str], checksum: str | None, verify: bool) -> Path:
    """`path`, verified if `verify`; if it does not exist, it is downloaded from the first of `urls` that works.

    `checksum` is the md5 or sha256 in hex; None: none is published. A download is written to a temporary name, always
    verified, and renamed. Raises UserError where the checksum is wrong or nothing could be downloaded.
    """
    if not path.is_file():
        return download(path, urls, checksum)
    if checksum is not None and verify and (found := digest(path, kind := CHECKSUM_KINDS[len(checksum)])) != checksum:
        raise UserError(
            f"{path} has {kind} {found}, expected {checksum} of the official file; "
            "delete it to download it again, or set data.verify=false to use it as it is"
        )
    return path


def download(path: Path, urls: Sequence[str], checksum: str | None) -> Path:
    """Downloads one file, with a progress bar."""
    import pooch  # slow to import, and rarely needed

    known = None if checksum is None else f"{CHECKSUM_KINDS[len(checksum)]}:{checksum}"
    reasons = []
    for url in urls:
        try:
            bar = pooch.HTTPDownloader(progressbar=True, timeout=20)
            return Path(pooch.retrieve(url, known, path.name, path.parent, downloader=bar))
        except OSError as error:  # no network, no permission
            reasons.append(f"{url}: {type(error).__name__}")
        except ValueError:
            reasons.append(f"{url}: the checksum is not {known}")
    why = f"could not be downloaded ({', '.join(reasons)})" if urls else "cannot be downloaded by a program"
    raise UserError(
        f"{path} is not there and {why}; "
        f"put the official {path.name} into the folder {path.parent}, "
        "or set data.root or GENMODELS_DATA to the folder where the datasets lie"
    )


def digest(path: Path, kind: str) -> str:
    """md5 or sha256 (hex) of a file. Raises UserError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise unreadable(path, str(error)) from error


def read_whole(path: Path, limit: int) -> bytes:
    """The bytes of a file, unpacked where its name ends in .gz.

    Raises UserError where it is truncated or broken, or there are more than `limit` bytes.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            found = file.read(limit + 1)
    except (EOFError, zlib.error, OSError) as error:
        raise unreadable(path, str(error)) from error
    if len(found) > limit:
        raise unreadable(path, f"it holds more than {limit} bytes")
    return found


def untar(path: Path, names: Collection[str], limit: int) -> dict[str, bytes]:
    """The plain files in a .tar.gz with these names, in any folder; nothing is written to disk.

    Raises UserError where it is truncated or broken, or unpacks to more than `limit` bytes.
    """
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(read_whole(path, limit)), mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in names and member.isfile() and not member.issparse():  # a sparse file may be of any size
                    found[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    except (tarfile.TarError, OSError, ValueError) as error:
        raise unreadable(path, str(error)) from error
    return found


def unreadable(path: Path, why: str) -> UserError:
    """The error for an official file that cannot be read."""
    return UserError(f"{path} cannot be read ({why}), expected the complete official file; delete it and get it again")
