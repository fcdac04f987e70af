"""Statistics of the real images that generated ones are laid against; the images are never augmented."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from genmodels.evaluators.dataset import Data, picture_levels
from genmodels.evaluators.distributed import rank_and_world, total
from genmodels.evaluators.features.base import Features
from genmodels.evaluators.moments import Sums, moments, sums, zeros
from genmodels.evaluators.results import Progress
from genmodels.units import to_pixels


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Moments of the features of one split."""

    name: str  # "digits/train"
    fingerprint: str  # of the split's content
    n: int
    mu: Float64[Tensor, "d"]
    sigma: Float64[Tensor, "d d"]


known: dict[tuple[str, ...], Reference] = {}  # content and weights decide, so it holds for the whole process


def reference_of(
    data: Data, split: str, *, features: Features, batch: int, device: torch.device, progress: Progress
) -> Reference:
    """Moments of the split's features, of which every process extracts some batches; computed once."""
    name, fingerprint = f"{data.name}/{split}", data.fingerprint(split)
    key = (name, fingerprint, features.sha256, str(device))
    if key not in known:
        x, _ = data.split(split)
        mu, sigma = moments_of(x, picture_levels(data), features, batch, device, progress)
        known[key] = Reference(name=name, fingerprint=fingerprint, n=len(x), mu=mu, sigma=sigma)
    return known[key]


def moments_of(
    x: Tensor, levels: int, features: Features, batch: int, device: torch.device, progress: Progress
) -> tuple[Float64[Tensor, "d"], Float64[Tensor, "d d"]]:
    """Mean and covariance of the features of images x (n, c, h, w) in data units."""
    rank, world = rank_and_world()
    s = zeros(features.dim, device)
    for start in range(rank * batch, len(x), world * batch):
        pixels = to_pixels(x[start : start + batch].to(device), levels)
        s = Sums(*(a + b for a, b in zip(s, sums(features(pixels).features), strict=True)))
        progress("reference", min(start + batch, len(x)), len(x))
    return moments(Sums(*map(total, s)))
