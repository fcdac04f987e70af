"""The published weights of FID's Inception network: given, found in the cache directory, or downloaded.

The file is a release asset of pytorch-fid (https://github.com/mseitzer/pytorch-fid) and holds
TensorFlow's weights of 2015-12-05; torch-fidelity publishes the same file under another name.
Its name ends in the first digits of its sha256, a convention of torch.hub.
"""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from genmodels.disk.user_cache import cache_dir
from genmodels.errors import UserError

NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def find_weights(given: str | None) -> Path:
    """The given file, or else the one in the cache directory, which is downloaded if it is missing.

    Raises UserError where there is none and it cannot be downloaded.
    """
    path = cache_dir() / "features" / NAME if given is None else Path(given).expanduser()
    if path.is_file():
        return path
    if given is not None:
        raise UserError(
            f"features.weights={given} is no file: give the {NAME} from {URL}, or leave features.weights out"
        )
    return download_weights(path)


def download_weights(path: Path) -> Path:
    """Downloads the published file with a progress bar; only a complete and verified file gets its name."""
    import pooch  # heavy, and seldom needed

    try:
        bar = pooch.HTTPDownloader(progressbar=True, timeout=20)
        return Path(pooch.retrieve(URL, f"sha256:{SHA256}", path.name, path.parent, downloader=bar))
    except (OSError, ValueError) as error:  # no network, no permission; another file than expected
        raise UserError(
            f"the Inception weights {path} are not there and could not be downloaded ({type(error).__name__}): get "
            f"{URL}, put it into the folder {path.parent} or give it as features.weights=FILE, or choose "
            "features=classifier, which needs no download"
        ) from error


def verified(path: Path, published: bool) -> str:
    """sha256 (hex) of the file; UserError if it cannot be read, or must be the published file and is not."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a file that can") from error
    if published and found != SHA256:
        raise UserError(
            f"{path} has sha256 {found}, expected {SHA256} of the published Inception weights: get them again from "
            f"{URL}, or set features.sha256=any to use the file as it is, under metric names with custom in them"
        )
    return found


def read_tensors(path: Path) -> Any:
    """The content of a .safetensors or torch file, on the CPU; pickled objects are refused unread."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is refused: it is damaged or holds pickled objects, which could run code; "
            "give a file of weights alone"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{path} is not a complete file of weights ({type(error).__name__}): get it again from {URL}"
        ) from error
