"""Pictures of the density of points in the plane: panels side by side, all of the same window.

Brighter means denser. All panels share one scale, so that they can be compared: white are the densest cells of the
first panel, which shows points and so never a narrow peak of a model.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from torch import Tensor

from genmodels.capabilities import HasLikelihood, PerSample, can
from genmodels.pictures import grid

PANEL_SIDE = 400  # pixels of a panel
CELLS = 200  # on a side of the grid on which a density is computed
HISTOGRAM_BINS = (10, 100)  # on a side of a histogram: minimum and maximum
MARGIN = 0.1  # around the points, as a fraction of their extent
OUTSIDE = 0.001  # fraction of the points that may lie below the window, and above it
WHITE_QUANTILE = 0.99  # fraction of the cells of the first panel that are darker than white
AT_ONCE = 5000  # cells in one call of log_prob
STOPS = np.array([[0, 0, 0], [90, 20, 110], [230, 90, 50], [255, 255, 255]])  # colours from empty to dense

Points = Float[Tensor, "n 2"]
Cells = Float[Tensor, "rows columns"]  # density per unit of area; the highest row first
LogProb = Callable[[Points], PerSample]
Window = tuple[Float[Tensor, "2"], Float[Tensor, "2"]]  # lower left and upper right corner


def is_plane(shape: Sequence[int], levels: int | None) -> bool:
    """Whether samples are points in the plane."""
    return tuple(shape) == (2,) and levels is None


def exact_density(model: torch.nn.Module) -> LogProb | None:
    """log p(x) of a model, where it is exact and needs no condition; else None."""
    if not isinstance(model, HasLikelihood) or not can(model, HasLikelihood):
        return None
    return model.log_prob if model.bound == "exact" and not model.condition else None  # type: ignore[return-value]


def panels(points: Mapping[str, Points], log_prob: LogProb | None, device: torch.device) -> Image.Image:
    """Histograms of named sets of points, and a density where one is given; the first set defines the window."""
    shown = window(next(iter(points.values())))
    densities = {name: histogram(x, shown) for name, x in points.items()}
    if log_prob is not None:
        densities["density"] = on_grid(log_prob, shown, device)
    white = next(iter(densities.values())).quantile(WHITE_QUANTILE)
    return grid(torch.stack([panel(name, d / white) for name, d in densities.items()]), 256, len(densities), scale=1)


def window(x: Points) -> Window:
    """The square around the points, except a few outliers."""
    low, high = torch.quantile(x[:1_000_000], torch.tensor([OUTSIDE, 1 - OUTSIDE]), dim=0)
    half = (high - low).max().clamp(min=1e-6) * (0.5 + MARGIN)
    return (low + high) / 2 - half, (low + high) / 2 + half


def histogram(x: Points, shown: Window) -> Cells:
    """Fraction of the points per unit of area."""
    bins = int(np.clip(len(x) ** 0.5 / 2, *HISTOGRAM_BINS))
    low, high = (corner.tolist() for corner in shown)
    counts, *_ = np.histogram2d(x[:, 1].numpy(), x[:, 0].numpy(), bins, [(low[1], high[1]), (low[0], high[0])])
    area = (high[0] - low[0]) * (high[1] - low[1]) / bins**2
    return torch.from_numpy(counts).flip(0) / (len(x) * area)


def on_grid(log_prob: LogProb, shown: Window, device: torch.device) -> Cells:
    """The density at the centre of each cell of a grid."""
    low, high = shown
    middles = low + (torch.arange(CELLS)[:, None] + 0.5) / CELLS * (high - low)  # (CELLS, 2)
    rows = middles[:, 1].flip(0)
    cells = torch.stack(torch.meshgrid(middles[:, 0], rows, indexing="xy"), dim=-1)  # (CELLS, CELLS, 2)
    with torch.no_grad():
        parts = [log_prob(part.to(device)).double().exp().cpu() for part in cells.flatten(0, 1).split(AT_ONCE)]
    return torch.cat(parts).view(CELLS, CELLS)


def panel(name: str, brightness: Cells) -> UInt8[Tensor, "3 side side"]:
    """One panel with its name in a corner; brightness 0..1."""
    at = brightness.nan_to_num(0).clamp(0, 1).numpy() * (len(STOPS) - 1)
    colours = np.stack([np.interp(at, range(len(STOPS)), channel) for channel in STOPS.T], axis=-1)
    image = Image.fromarray(colours.round().astype(np.uint8)).resize((PANEL_SIDE, PANEL_SIDE), Image.Resampling.NEAREST)
    ImageDraw.Draw(image).text((8, 6), name, fill=(200, 200, 200))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
