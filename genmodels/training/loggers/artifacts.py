"""Checkpoints as W&B artifacts, versions of model-<run id> with the aliases last and best; and where files wait."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

CHOSEN = {"none": (), "last": ("last",), "best": ("best",), "all": ("last", "best")}


def log_checkpoint(run: Any, file: Path) -> None:
    """Adds a checkpoint to the run, with what it is of; what an offline run uploads later is the file itself."""
    import wandb

    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=about(file))
    artifact.add_file(str(file), name=file.name, policy="immutable")  # no copy of it
    run.log_artifact(artifact, aliases=[file.stem])


def about(file: Path) -> dict[str, Any]:
    """Name of the experiment, step, images_seen, and of best.ckpt the metric that it is the best in."""
    held = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    facts = {"name": held["config"]["name"], "step": held["global_step"], "images_seen": held["images_seen"]}
    best = held["callbacks"].get("BestCheckpoint")
    return facts | ({best["monitor"]: best["best"]} if file.stem == "best" and best else {})


@contextmanager
def waiting_in(folder: Path) -> Iterator[None]:
    """What W&B copies to upload it later lies in this folder and not in the home directory, or in WANDB_DATA_DIR."""
    given = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = given or str(folder)
    try:
        yield
    finally:
        if given is None:
            del os.environ["WANDB_DATA_DIR"]
