"""Checkpoints as W&B artifacts, versions of model-<run id> with the aliases last and best; folder of waiting files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

CHOSEN = {"none": (), "last": ("last",), "best": ("best",), "all": ("last", "best")}


def log_checkpoint(run: Any, file: Path) -> None:
    """Adds a checkpoint with its metadata to the run; an offline run later uploads the file itself."""
    import wandb

    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=about(file))
    artifact.add_file(str(file), name=file.name, policy="immutable")  # without a copy
    run.log_artifact(artifact, aliases=[file.stem])


def about(file: Path) -> dict[str, Any]:
    """Name of the experiment, step, images_seen, and for best.ckpt its best metric."""
    held = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    facts = {"name": held["config"]["name"], "step": held["global_step"], "images_seen": held["images_seen"]}
    best = held["callbacks"].get("BestCheckpoint")
    return facts | ({best["monitor"]: best["best"]} if file.stem == "best" and best else {})


@contextmanager
def waiting_in(folder: Path) -> Iterator[None]:
    """In the block, W&B copies files for a later upload into WANDB_DATA_DIR, else into this folder, not into home."""
    given = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = given or str(folder)
    try:
        yield
    finally:
        if given is None:
            del os.environ["WANDB_DATA_DIR"]
