"""Pictures during training: samples, completions, reconstructions, denoising films, translations.

They are drawn with the same random numbers and conditions every time, so that only the model differs between two
pictures. The random state of the training is restored after each drawing.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from PIL.Image import Image

from genmodels.fields import SplitName
from genmodels.kinds import kind_of
from genmodels.kinds.base import Pictured
from genmodels.kinds.model_pictures import ModelPictures, needs_rows
from genmodels.pictures import save
from genmodels.ranges import PositiveInt
from genmodels.seeds import fold, seeded
from genmodels.training.callbacks.progress import say
from genmodels.training.loggers.base import run_loggers
from genmodels.training.pace import Periodic
from genmodels.training.sharding import is_sharded

STREAM = 9  # of random numbers: the second argument of fold(seed, ...)


class Pictures(Periodic):
    """Writes <what>_<images_seen>.png, and last.png, the newest samples, on rank zero, and gives them to the loggers.

    Depending on the kind of the data (`genmodels.kinds`) and on what the model can do: samples, beside their conditions
    and originals if these can be shown; completions and reconstructions of validation samples; a film strip of
    denoising; originals above their translations.
    """

    def __init__(
        self,
        *,
        dirpath: str,  # where the pictures go
        every_n_steps: PositiveInt,  # and at the end of training
        n: PositiveInt,  # images in a grid
        frames: PositiveInt,  # moments in a film strip
        split: SplitName,  # whose first samples are completed, reconstructed, translated, or lend their conditions
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
        if needs_rows(pl_module.model, data):
            data.split(self.split)  # refuses an empty split before the training starts
        if trainer.is_global_zero and not isinstance(kind_of(data.x), Pictured):
            print(f"no pictures: samples of {data.name} ({data.x}) cannot be shown", file=sys.stderr)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        if step % self.every_n_steps == 0 or step == trainer.max_steps:
            self.draw_once(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draws where something else than max_steps has ended the training, such as early stopping."""
        self.draw_once(trainer, pl_module)

    def draw_once(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draws once per step: the end of the training may be a step that is due."""
        new = trainer.global_step > self.drawn_at
        self.drawn_at = trainer.global_step
        shown = isinstance(kind_of(pl_module.data.x), Pictured)
        if new and shown and (trainer.is_global_zero or is_sharded(pl_module.model)):
            say(trainer, "drawing pictures")
            pictures = self.draw(pl_module)
            if trainer.is_global_zero:
                self.write(trainer, pl_module.images_seen, pictures)

    def draw(self, pl_module: Any) -> dict[str, Image]:
        """A picture of each sort that the kind of the data and the model support."""
        seed = fold(pl_module.seed, STREAM)
        with pl_module.evaluating() as model, seeded(seed):
            return ModelPictures(
                model, pl_module.data, self.split, self.n, self.frames, pl_module.device, seed
            ).pictures()

    def write(self, trainer: pl.Trainer, images_seen: int, pictures: Mapping[str, Image]) -> None:
        for what, picture in pictures.items():
            save(picture, self.dirpath / f"{what}_{images_seen:09}.png")
        if "samples" in pictures:
            save(pictures["samples"], self.dirpath / "last.png")
        for logger in run_loggers(trainer.loggers):
            logger.log_pictures(pictures, images_seen)
