"""Batches from the loader, beside the rows of a tensor or of a memory-mapped array."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from benchmarks.pair import Pair, Piece
from genmodels.data.base import Split
from genmodels.data.loader import Loader
from genmodels.data.mapped import load_split

BATCH, LOADED, EPOCHS = 128, 60_000, 10
GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def loading(device: torch.device) -> Pair:
    """Epochs from memory."""
    x = torch.randint(256, (LOADED, *GREY), dtype=torch.uint8)
    plain = partial(by_index, partial(x.to(device).index_select, 0), device)
    return Pair(EPOCHS * LOADED, plain, partial(by_loader, Split(x, {}), device))


def mapped(device: torch.device) -> Pair:
    """Epochs from a memory-mapped file, which lives as long as the pair."""
    folder = TemporaryDirectory()
    file = Path(folder.name) / "train.npy"
    np.save(file, np.random.default_rng(0).integers(256, size=(LOADED, *COLOUR), dtype=np.uint8))
    x = np.load(file, mmap_mode="r")

    def rows(chosen: Tensor) -> Tensor:
        return torch.from_numpy(x[chosen.numpy()]).to(device)

    def ours() -> Piece:
        return by_loader(load_split(Path(folder.name), "train"), device)

    return Pair(EPOCHS * LOADED, partial(by_index, rows, torch.device("cpu")), ours)


def by_loader(split: Split, device: torch.device) -> Piece:
    loader = Loader(
        split=split,
        visit=lambda x, condition, generator: (x, condition),
        batch_size=BATCH,
        seed=0,
        rank=0,
        world_size=1,
        device=device,
    )
    return lambda: [len(loader.batch(pos)[0]) for pos in range(EPOCHS * len(loader))]


def by_index(rows: Callable[[Tensor], Tensor], device: torch.device) -> Piece:
    """The rows themselves, without seeds, labels and positions; their numbers are on `device`."""

    def work() -> None:
        for _ in range(EPOCHS):
            order = torch.randperm(LOADED, device=device)
            for start in range(0, LOADED - BATCH + 1, BATCH):
                rows(order[start : start + BATCH])

    return work
