"""Pictures while training goes on: sample grids, reconstructions, denoising films.

They are drawn with the same random numbers and labels every time, so that what changes from
one picture to the next is the model. Training does not notice: its random state is given back.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from PIL import Image
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from genmodels.capabilities import Denoises, Encodes, Samples
from genmodels.data.base import SplitName
from genmodels.pictures import film_strip, grid, reconstructions, save
from genmodels.point_pictures import exact_density, is_plane, panels
from genmodels.seeds import ByNumber, fold, seeded
from genmodels.training.callbacks.progress import say
from genmodels.training.loggers.base import ours
from genmodels.training.sharding import is_sharded

STREAM = 9  # of random numbers: what comes second in fold(seed, ...)
FILM_ROWS = 8  # samples in a film strip: the first of the grid
POINTS = 20_000  # at most, of the data in a picture of points, and as many samples


class Pictures(Callback):
    """Writes <kind>_<images_seen>.png, and last.png, the newest grid of samples, from rank zero.

    Samples where the model draws them, reconstructions of validation images where it encodes, a film
    strip where it denoises; to the loggers that show pictures as well. Of points in the plane: how densely data and
    samples lie, and the model's density where it is exact. Of other data nothing.
    """

    def __init__(
        self,
        *,
        dirpath: str,  # where the pictures go
        every_n_steps: int,  # and at the end of training
        n: int,  # images in a grid
        frames: int,  # moments in a film strip
        split: SplitName,  # whose first images are reconstructed
    ):
        self.dirpath = Path(dirpath)
        self.every_n_steps = every_n_steps
        self.n = n
        self.frames = frames
        self.split = split
        self.drawn_at = 0  # step of the newest pictures, or where training began

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.drawn_at = trainer.global_step - int(pl_module.cut_short)
        data = pl_module.data
        if are_points(data) or isinstance(pl_module.model, Encodes):
            data.split(self.split)  # an empty split is refused before the training, not after
        if trainer.is_global_zero and not (are_images(data) or are_points(data)):
            print(f"no pictures: samples of {data.name} are neither images nor points in the plane", file=sys.stderr)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self.draw_once(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.draw_once(trainer, pl_module)

    def draw_once(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draws, unless it was done at this step: several batches can pass in one."""
        new = trainer.global_step > self.drawn_at
        self.drawn_at = trainer.global_step
        images, points = are_images(pl_module.data), are_points(pl_module.data)
        if new and (trainer.is_global_zero or is_sharded(pl_module.model)) and (images or points):
            say(trainer, "drawing pictures")
            draw = self.draw if images else self.draw_points
            pictures = draw(pl_module)
            if trainer.is_global_zero:
                self.write(trainer, pl_module.images_seen, pictures)

    def draw(self, pl_module: Any) -> dict[str, Image.Image]:
        """A picture of each kind that the model can give."""
        data, levels, pictures = pl_module.data, pl_module.data.levels, {}
        seed = fold(pl_module.seed, STREAM)
        with pl_module.evaluating() as model, seeded(seed):
            if isinstance(model, Samples):
                drawn = model.sample(self.n, labels(model, self.n, pl_module.device), ByNumber(seed, 0, self.n))
                pictures["samples"] = grid(drawn.cpu(), levels)
            if isinstance(model, Encodes):
                x, y = first(data.split(self.split), self.n, pl_module.device)
                x_hat = model.decode(model.encode(x, y), y)
                pictures["reconstructions"] = reconstructions(x.cpu(), x_hat.cpu(), levels)
            if isinstance(model, Denoises):
                y = labels(model, FILM_ROWS, pl_module.device)
                film = model.film(FILM_ROWS, y, ByNumber(seed, 0, FILM_ROWS))
                pictures["film"] = film_strip(evenly(film, self.frames), levels)
        return pictures

    def draw_points(self, pl_module: Any) -> dict[str, Image.Image]:
        """Data, samples and density in the plane."""
        x, _ = pl_module.data.split(self.split)
        n, points = min(len(x), POINTS), {"data": x[:POINTS]}
        with pl_module.evaluating() as model, seeded(fold(pl_module.seed, STREAM)):
            if isinstance(model, Samples):
                points["samples"] = model.sample(n, labels(model, n, pl_module.device)).cpu()
            return {"samples": panels(points, exact_density(model), pl_module.device)}

    def write(self, trainer: pl.Trainer, images_seen: int, pictures: dict[str, Image.Image]) -> None:
        for kind, picture in pictures.items():
            save(picture, self.dirpath / f"{kind}_{images_seen:09}.png")
        if "samples" in pictures:
            save(pictures["samples"], self.dirpath / "last.png")
        for logger in ours(trainer.loggers):
            logger.log_pictures(pictures, images_seen)


def are_images(data: Any) -> bool:
    """Whether its samples are integers of shape (c, h, w) with 1 or 3 channels."""
    return data.levels is not None and len(data.shape) == 3 and data.shape[0] in (1, 3)


def are_points(data: Any) -> bool:
    """Whether its samples are points in the plane."""
    return is_plane(data.shape, data.levels)


def first(split: tuple[Tensor, Tensor | None], n: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """The first `n` images and their labels, where there are any."""
    x, y = split
    return x[:n].to(device), None if y is None else y[:n].to(device)


def labels(model: Any, n: int, device: torch.device) -> Tensor | None:
    """0, 1, 2, ... and again from 0, (n,), for a model that takes labels."""
    return None if model.classes is None else torch.arange(n, device=device) % model.classes


def evenly(film: Iterable[Tensor], n: int) -> list[Tensor]:
    """About evenly spaced moments of a film, `n` of them where it is that long, its first and last among them.

    A long film never lies in memory as a whole: of its moments every one, then every second, every fourth, ... is kept.
    """
    kept, stride, last = [], 1, None
    for i, x in enumerate(film):
        last = x.cpu()
        if i % stride == 0:
            kept.append(last)
        if len(kept) > 8 * n:
            kept, stride = kept[::2], 2 * stride
    if last is not None and kept[-1] is not last:
        kept.append(last)
    chosen = torch.linspace(0, len(kept) - 1, min(n, len(kept))).round().long()
    return [kept[i] for i in chosen]
