"""Official files: looked for where the person put them, verified by their md5, else downloaded."""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

from genmodels.errors import UserError


def fetch(path: Path, urls: Sequence[str], md5: str, verify: bool) -> Path:
    """`path`, verified unless told not to; where it is not there, downloaded from the first of `urls` that works.

    A download is written to a temporary name, verified always, and renamed. Raises UserError where the md5 is wrong or
    nothing could be downloaded.
    """
    if not path.is_file():
        return download(path, urls, md5)
    if verify and (found := md5_of(path)) != md5:
        raise UserError(
            f"{path} has md5 {found}, expected {md5} of the official file; "
            "delete it to download it anew, or set data.verify=false to use it as it is"
        )
    return path


def download(path: Path, urls: Sequence[str], md5: str) -> Path:
    """Downloads one file, with a progress bar."""
    import pooch  # heavy, and seldom needed

    reasons = []
    for url in urls:
        try:
            bar = pooch.HTTPDownloader(progressbar=True, timeout=20)
            return Path(pooch.retrieve(url, f"md5:{md5}", path.name, path.parent, downloader=bar))
        except OSError as error:  # no network, no permission
            reasons.append(f"{url}: {type(error).__name__}")
        except ValueError:
            reasons.append(f"{url}: a file with another md5 than {md5}")
    raise UserError(
        f"{path} is not there and could not be downloaded ({', '.join(reasons)}); "
        f"put the official {path.name} into the folder {path.parent}, "
        "or set data.root or GENMODELS_DATA to the folder where the datasets lie"
    )


def md5_of(path: Path) -> str:
    """md5 (hex) of a file. Raises UserError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise broken(path, str(error)) from error


def gunzip(path: Path) -> bytes:
    """The content of a .gz file. Raises UserError where it is truncated or broken."""
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, zlib.error, OSError) as error:
        raise broken(path, str(error)) from error


def broken(path: Path, why: str) -> UserError:
    """The error of a file that cannot be read."""
    return UserError(f"{path} cannot be read ({why}), expected the whole official file; delete it and get it anew")
