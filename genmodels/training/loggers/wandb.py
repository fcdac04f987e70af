"""A Weights & Biases logger that never stops a training: if W&B fails, training continues without it."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from genmodels.errors import UserError
from genmodels.evaluators.results import Record
from genmodels.evaluators.shown import Neighbours
from genmodels.training.loggers.artifacts import CHOSEN, log_checkpoint, waiting_in
from genmodels.training.loggers.base import RunLogger
from genmodels.training.loggers.histogram import Histogram
from genmodels.training.loggers.replay import is_whole, replay
from genmodels.training.loggers.wandb_begin import WandbFolders, require_accepted, start, wanted_mode

TAG = 64  # characters of a tag, at most
FAULT = 1  # the exit status of failures at run time, such as a full disk


class WandbRun(RunLogger, WandbLogger):
    """A W&B run on rank zero; x axis `images_seen`.

    Raises:
        UserError: W&B refuses the project's name, a tag or an environment variable; WANDB_MODE is no mode.
    """

    def __init__(
        self,
        *,
        project: str,
        name: str | None,  # None: W&B makes one up
        group: str | None,  # such as the sweep that the run belongs to
        tags: Sequence[str],  # the user's own
        about: Sequence[str | None],  # further tags, such as the dataset; None: none
        notes: str | None,
        dir: str,  # the run's directory: files go to its wandb/
        mode: Literal["auto", "online", "offline", "disabled"],  # auto: WANDB_MODE, or online where that works
        checkpoints: Literal["none", "last", "best", "all"],  # checkpoints to upload as artifacts
    ):
        super().__init__(project=project, name=name, save_dir=dir, group=group, notes=notes, job_type="train")
        self.run_dir = Path(dir)
        self.tags = all_tags(tags, about)
        wanted_mode(mode)  # raises UserError before the training
        require_accepted(project)
        self.mode = mode
        self.checkpoints = CHOSEN[checkpoints]
        self.begins_at = 0  # images_seen
        self.replayable = False  # whether the logs of an earlier part of the run can be logged again
        self.supersedes = False  # whether the W&B run contains everything of its earlier offline parts
        self.lost = False  # whether W&B's own process has ended

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run.

        Raises:
            UserError: online was asked for and does not work.
        """
        if self._experiment is None:
            names = {key: self._wandb_init[key] for key in ("project", "name", "group", "notes", "job_type")}
            place = WandbFolders(run_dir=self.run_dir, replayable=self.replayable)
            before = place.last_id()
            self._experiment = start(self.mode, place, {**names, "tags": self.tags})
            same = self._experiment.id == before
            if same and not self._experiment.resumed:
                replay(self.run_dir, self.begins_at, self)
            self.supersedes = same
        return self._experiment

    def begin(self, step: int, images_seen: int, every: int) -> None:
        self.begins_at = images_seen
        self.replayable = is_whole(self.run_dir, step, every)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs numbers with their `images_seen`. If W&B fails, training continues without it."""
        self._send(lambda run: super(WandbRun, self).log_metrics(metrics, step))

    @rank_zero_only
    def log_pictures(self, pictures: Mapping[str, Image.Image], images_seen: int) -> None:
        import wandb

        self._log(lambda: {kind: wandb.Image(picture) for kind, picture in pictures.items()}, images_seen)

    @rank_zero_only
    def log_histograms(self, histograms: Mapping[str, Histogram], images_seen: int) -> None:
        import wandb

        def shown(histogram: Histogram) -> wandb.Histogram:
            return wandb.Histogram(np_histogram=(np.array(histogram.counts), histogram.edges))

        self._log(lambda: {name: shown(histogram) for name, histogram in histograms.items()}, images_seen)

    @rank_zero_only
    def log_neighbours(self, kind: str, found: Neighbours, images_seen: int) -> None:
        """Logs a table with one row for each sample."""
        self._log(lambda: {f"{kind}_of_samples": table(found)}, images_seen)

    @rank_zero_only
    def log_results(self, records: Sequence[Record]) -> None:
        """Writes into the summary: test/fid_2k, std/test/fid_2k if there is a std, and protocol/test/fid_2k."""
        self._send(lambda run: run.summary.update(summary(records)))

    @rank_zero_only
    def log_checkpoints(self, folder: Path) -> None:
        for file in (folder / f"{which}.ckpt" for which in self.checkpoints):
            if file.exists():
                self._send(partial(log_checkpoint, file=file))

    def _log(self, media: Callable[[], dict[str, Any]], images_seen: int) -> None:
        def log(run: Any) -> None:
            with waiting_in(Path(run.dir).parent):
                run.log({"images_seen": images_seen, **media()})

        self._send(log)

    def _send(self, work: Callable[[Any], Any]) -> None:
        """Calls `work` with the run, as long as W&B works."""
        import wandb

        if self.lost:
            return
        try:
            work(self.experiment)
        except (wandb.Error, OSError) as error:
            self.lost = True
            print(f"W&B takes no more metrics ({error}); training continues without it.", file=sys.stderr, flush=True)

    @rank_zero_only
    def end(self, exit_code: int) -> None:
        """Ends the run, so that the next job starts its own; data that could not be uploaded stay on disk."""
        import wandb

        run, self._experiment = self._experiment, None
        if run is None:
            return
        try:
            run.finish(exit_code=exit_code)
        except (wandb.Error, OSError) as error:
            print(f"W&B did not end properly ({error}); its files are kept.", file=sys.stderr)
            return
        if self.supersedes and not self.lost and exit_code != FAULT:
            self._remove_superseded(run)
        if run.offline:
            files = shlex.quote(os.path.abspath(self.run_dir / "wandb"))
            print(f"to upload the W&B run: wandb sync {files}", file=sys.stderr, flush=True)

    def _remove_superseded(self, run: Any) -> None:
        """Removes earlier offline parts of the run, since the whole run is now on the disk under the same id."""
        current = Path(run.dir).parent.resolve()
        for folder in WandbFolders(run_dir=self.run_dir, replayable=True).unsynced(run.id):
            if folder.resolve() != current:
                shutil.rmtree(folder, ignore_errors=True)


def all_tags(tags: Sequence[str], about: Sequence[str | None]) -> list[str]:
    """The user's tags, then the others, each once; other tags that are too long for W&B are cut."""
    for tag in tags:
        if not 1 <= len(tag) <= TAG:
            raise UserError(f"logger.wandb.tags has {tag!r}, expected 1 to {TAG} characters; shorten it")
    return list(dict.fromkeys([*tags, *(word[:TAG] for word in about if word)]))


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Results as entries of a run's summary."""
    spread = {f"std/{record.key}": record.std for record in records if record.std is not None}
    return (
        {record.key: record.value for record in records}
        | spread
        | {f"protocol/{record.key}": record.protocol for record in records}
    )


def table(found: Neighbours) -> Any:
    """Samples, the nearest reference image of each, and its distance and number."""
    import wandb

    def image(pixels: Any) -> wandb.Image:
        return wandb.Image(pixels.permute(1, 2, 0).squeeze(-1).numpy())

    columns: list[str | int] = ["sample", f"nearest in {found.reference}", "distance", "number"]
    rows = zip(found.samples, found.nearest, found.distance.tolist(), found.index.tolist(), strict=True)
    return wandb.Table(columns=columns, data=[[image(x), image(near), d, i] for x, near, d, i in rows])
