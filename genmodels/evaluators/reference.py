"""Statistics of the real images that generated images are compared with; real images are never augmented.

Moments are computed once and kept in the user's cache directory. The file name is a hash of everything
that they depend on: the content of the split, its shape and levels, and the features with the hash of
their weights, their resize rule and type. The cache also holds the features themselves where a metric
needs them (400 MB for 50,000 images of 2048), and functions of these alone, such as the radii of precision.
"""

import json
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from genmodels.disk.user_cache import cache_dir
from genmodels.errors import UserError
from genmodels.evaluators.bank import Bank
from genmodels.evaluators.distributed import from_rank_zero, rank_and_world, shards, total
from genmodels.evaluators.features import cache
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.moments import Sums, moments, sums, zeros
from genmodels.evaluators.pairs import radii
from genmodels.evaluators.pictures import PictureSet
from genmodels.evaluators.results import Progress

COVARIANCE_ROUNDING = 1e-5  # of entries of a covariance that was summed in float32, relative to the largest
STATISTICS_VERSION = 1  # raise it with every change of the computation
MOMENTS, FEATURES = "references", "reference_features"  # folders of the cache


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Features of real images, or only their moments; the same on every process."""

    name: str  # "digits/train"
    fingerprint: str | None  # of the content
    n: int | None  # images; None: unknown
    mu: Float64[Tensor, " d"]
    sigma: Float64[Tensor, "d d"]
    rows: Float[Tensor, "n d"] | None = None
    prepared: str | None = None  # how the images were cut and resized
    key: str | None = None  # hash of everything that this depends on; None: not in the cache

    def features(self) -> Float[Tensor, "n d"]:
        """float32 features on the CPU, in the order of the images; UserError where there are only moments."""
        if self.rows is None:
            raise UserError(f"{self.name} holds only moments; give reference images instead of statistics")
        return self.rows

    def kept(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """The result of `make`, a function of the features, on the CPU; from the user's cache if it is there.

        Every process must call it.
        """
        if self.key is None:
            return make()
        path = cache_path(f"reference_{name}", self.key)
        if (found := from_rank_zero(lambda: cache.stored(path))) is None:
            found = {"value": make().cpu().contiguous()}, {}
            if rank_and_world()[0] == 0:
                with suppress(UserError):  # the disk is full
                    cache.store(path, *found)
        return found[0]["value"]


def radii_of(reference: Reference, k: int, device: torch.device, progress: Progress) -> Float[Tensor, " n"]:
    """Distance of each image to its k-th nearest other image, on `device`; cached like the features."""
    return reference.kept(f"radii_{k}", lambda: radii(reference.features(), k, device, progress)).to(device)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Moments that another program computed, with unknown features."""

    name: str
    sha256: str  # of the file
    mu: Float64[Tensor, " d"]
    sigma: Float64[Tensor, "d d"]


references_in_memory: dict[tuple[str, str], Reference] = {}  # by `key_of` and device, for the whole process


def reference_of(
    source: PictureSet | Statistics,
    *,
    features: Features,
    rows: bool,
    batch: int,
    device: torch.device,
    progress: Progress,
) -> Reference:
    """The reference for pictures or statistics in prepared features; `rows`: with the features themselves.

    Every process must call it and extracts some batches; rank 0 writes the cache.
    """
    if isinstance(source, Statistics):
        return of_statistics(source, features, device)
    if len(source) < 2:
        raise UserError(f"got {len(source)} images in {source.name}, expected at least 2: give more images")
    key = key_of(source, features)
    found = references_in_memory.get((key, str(device)))
    if found is None or (rows and found.rows is None):
        mu, sigma, bank = moments_of(source, key, features, rows, batch, device, progress)
        of: dict[str, Any] = {"name": source.name, "fingerprint": source.sha256, "prepared": source.prepared}
        found = Reference(**of, n=len(source), key=key, mu=mu, sigma=sigma, rows=bank)
        references_in_memory[key, str(device)] = found
    return found


def key_of(pictures: PictureSet, features: Features) -> str:
    """A hash of everything that the statistics depend on."""
    facts = [STATISTICS_VERSION, pictures.sha256, len(pictures), pictures.shape, pictures.levels, features.protocol()]
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def moments_of(
    pictures: PictureSet,
    key: str,
    features: Features,
    rows: bool,
    batch: int,
    device: torch.device,
    progress: Progress,
) -> tuple[Float64[Tensor, " d"], Float64[Tensor, "d d"], Float[Tensor, "n d"] | None]:
    """Mean and covariance, and the features if `rows`; from the cache where possible."""
    folders = (MOMENTS, FEATURES)[: 1 + rows]
    found = from_rank_zero(lambda: [w for folder in folders if (w := cache.stored(cache_path(folder, key)))])
    if len(found) == len(folders):
        kept = {name: tensor for weights, _ in found for name, tensor in weights.items()}
        return kept["mu"].to(device), kept["sigma"].to(device), kept.get("rows")
    mu, sigma, bank = extract_moments(pictures, features, rows, batch, device, progress)
    if rank_and_world()[0] == 0:
        about = {"images": pictures.name, "n": len(pictures), **features.protocol()}
        cache.store(cache_path(MOMENTS, key), {"mu": mu.cpu(), "sigma": sigma.cpu()}, about)
        if bank is not None:
            with suppress(UserError):  # they are large, and the disk may be full
                cache.store(cache_path(FEATURES, key), {"rows": bank}, about)
    return mu, sigma, bank


def cache_path(folder: str, key: str) -> Path:
    """The path of a cached result."""
    return cache_dir() / folder / f"{key[:32]}.safetensors"


def extract_moments(
    pictures: PictureSet, features: Features, rows: bool, batch: int, device: torch.device, progress: Progress
) -> tuple[Float64[Tensor, " d"], Float64[Tensor, "d d"], Float[Tensor, "n d"] | None]:
    """Mean and covariance of the features of all pictures, and the features if `rows`."""
    n = len(pictures)
    s = zeros(features.dim, device)
    bank = Bank(n, (features.dim,)) if rows else None
    progress("reference", 0, n)
    for part in shards(n, batch):
        f = features(pictures.read(part).to(device)).features
        s = Sums(*(a + b for a, b in zip(s, sums(f), strict=True)))
        if bank is not None:
            bank.put(torch.as_tensor(part), f)
        progress("reference", part.stop, n)
    mu, sigma = moments(Sums(*map(total, s)))
    return mu, sigma, None if bank is None else bank.gathered(device)


def statistics_in(path: Path) -> Statistics | None:
    """`mu` and `sigma` of an .npz as pytorch-fid and EDM write it; None where it has no such arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            mu, sigma = file["mu"], file["sigma"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    if mu.ndim != 1 or sigma.shape != (*mu.shape, *mu.shape) or not mu.size or not _finite(mu, sigma):
        raise UserError(
            f"{path} has mu of {mu.dtype} {mu.shape} and sigma of {sigma.dtype} {sigma.shape}, "
            "expected finite numbers (d,) and (d, d), d at least 1; compute the statistics again"
        )
    if why := _no_covariance(sigma.astype(np.float64)):
        raise UserError(
            f"{path} has a sigma that is no covariance: {why}; expected a symmetric matrix without negative "
            "eigenvalues, compute the statistics again"
        )
    digest = sha256(path.read_bytes()).hexdigest()
    parts = [torch.from_numpy(values.astype(np.float64)) for values in (mu, sigma)]
    return Statistics(name=str(path), sha256=digest, mu=parts[0], sigma=parts[1])


def _finite(*arrays: np.ndarray) -> bool:
    return all(values.dtype.kind == "f" and bool(np.isfinite(values).all()) for values in arrays)


def _no_covariance(sigma: np.ndarray) -> str:
    """Why a matrix is no covariance, up to rounding in float32; empty: it is one."""
    scale = np.abs(sigma).max()
    if (off := np.abs(sigma - sigma.T).max()) > COVARIANCE_ROUNDING * scale:
        return f"it is not symmetric (by {off:.3g}, where its largest entry is {scale:.3g})"
    least = np.linalg.eigvalsh(sigma)[0]
    return f"it has an eigenvalue of {least:.3g}" if least < -COVARIANCE_ROUNDING * len(sigma) * scale else ""


def of_statistics(source: Statistics, features: Features, device: torch.device) -> Reference:
    """Statistics of another program as a reference; UserError where the dimension differs."""
    if len(source.mu) != features.dim:
        raise UserError(
            f"{source.name} has statistics of {len(source.mu)} dimensions, and features={features.name or 'inception'} "
            f"has {features.dim}: give statistics of these features, or the images themselves"
        )
    moved: dict[str, Any] = {"mu": source.mu.to(device), "sigma": source.sigma.to(device)}
    return Reference(name=source.name, fingerprint=source.sha256, n=None, **moved)
