"""The loader: order as a pure function of (seed, position), shares of processes, exact resume under Lightning."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from genmodels.capabilities import Condition
from genmodels.data.base import labelled
from genmodels.data.loader import Loader
from genmodels.data.transforms import random_flip
from genmodels.errors import UserError

N = 22  # samples; 5 batches of 4, and 2 left over
SPLIT = labelled(torch.arange(N, dtype=torch.uint8).view(N, 1, 1, 1), torch.arange(N))


def same(x: Tensor, condition: Condition, generator: torch.Generator) -> tuple[Tensor, Condition]:
    return x, condition


def noise(x: Tensor, condition: Condition, generator: torch.Generator) -> tuple[Tensor, Condition]:
    return torch.randint(256, x.shape, generator=generator, dtype=torch.uint8, device=x.device), condition


def flipped(x: Tensor, condition: Condition, generator: torch.Generator) -> tuple[Tensor, Condition]:
    return random_flip(x, generator), condition


def make(**changes: object) -> Loader:
    plain = {
        "split": SPLIT,
        "visit": same,
        "batch_size": 4,
        "batches_per_step": 1,
        "seed": 0,
        "rank": 0,
        "world_size": 1,
    }
    return Loader(**(plain | {"device": torch.device("cpu")} | changes))


def epochs(loader: Loader, n: int) -> list[list[int]]:
    """The next batches of a loader, `n` epochs of them, as lists of sample numbers."""
    return [condition["label"].tolist() for _ in range(n) for _, condition in loader]


def test_an_epoch_is_a_permutation_without_the_incomplete_batch() -> None:
    loader = make()
    batches = epochs(loader, 1)
    assert len(loader) == 5 == len(batches)
    assert len({i for batch in batches for i in batch}) == 20
    x, condition = loader.batch(0)
    y = condition["label"]
    assert x.flatten().tolist() == y.tolist() and x.dtype == torch.uint8 and y.dtype == torch.int64


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    torch.manual_seed(1)
    first = epochs(make(), 3)
    torch.manual_seed(2)
    assert epochs(make(), 3) == first
    assert [make().batch(pos)[1]["label"].tolist() for pos in (14, 3, 7)] == [first[14], first[3], first[7]]
    assert first[:5] != first[5:10] != first[10:]
    assert epochs(make(seed=1), 1) != first[:5]


def test_random_numbers_of_a_batch_are_a_function_of_its_position_and_rank() -> None:
    loader = make(visit=noise, batch_size=2, world_size=2)
    drawn = [x for _ in range(2) for x, _ in loader]
    assert all(x.equal(make(visit=noise, batch_size=2, world_size=2).batch(pos)[0]) for pos, x in enumerate(drawn))
    others = [make(visit=noise, batch_size=2, world_size=2, rank=1).batch(pos)[0] for pos in range(10)]
    assert len({tuple(x.flatten().tolist()) for x in drawn + others}) == 20


def test_two_processes_share_what_one_would_have_seen() -> None:
    one = epochs(make(), 2)
    zero, first = (epochs(make(batch_size=2, world_size=2, rank=rank), 2) for rank in (0, 1))
    assert [[x for pair in zip(a, b, strict=True) for x in pair] for a, b in zip(zero, first, strict=True)] == one


def test_without_labels() -> None:
    assert all(condition == {} for _, condition in make(split=labelled(SPLIT.x, None)))


def test_the_split_is_not_changed() -> None:
    x = torch.randint(256, (8, 3, 4, 4), dtype=torch.uint8)
    before = x.clone()
    list(make(split=labelled(x, None), visit=flipped))
    assert x.equal(before)


def test_an_epoch_has_whole_steps() -> None:
    loader = make(batches_per_step=3)  # 22 samples: one step of 3 batches of 4, the next would lack 2
    assert len(loader) == 3 and epochs(loader, 1) == epochs(make(), 1)[:3]
    with pytest.raises(UserError, match="22 samples, expected at least 24, the size of one step"):
        make(batches_per_step=6)


def test_fewer_samples_than_a_batch() -> None:
    with pytest.raises(UserError, match="22 samples, expected at least 24"):
        make(batch_size=12, world_size=2)


class Recorder(pl.LightningModule):
    """Keeps the samples it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch: tuple[Tensor, Condition], index: int) -> Tensor:
        self.seen.append(batch[1]["label"].tolist())
        return self.weight**2

    def validation_step(self, batch: Tensor, index: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveAlways(pl.Callback):
    """A checkpoint after every batch and after every epoch."""

    def __init__(self, folder: Path):
        self.folder = folder

    def on_train_batch_end(self, trainer: pl.Trainer, module: Recorder, *rest: object) -> None:
        trainer.save_checkpoint(self.folder / f"batch_{len(module.seen)}.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, module: Recorder) -> None:
        trainer.save_checkpoint(self.folder / f"epoch_{len(module.seen)}.ckpt")


def fit(
    limits: dict[str, int], validate: bool, folder: Path | None = None, resume: Path | None = None
) -> list[list[int]]:
    """The batches that a run sees."""
    module = Recorder()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    callbacks = [] if folder is None else [SaveAlways(folder)]
    trainer = pl.Trainer(accelerator="cpu", devices=1, callbacks=callbacks, num_sanity_val_steps=0, **quiet, **limits)
    trainer.fit(module, make(), [torch.zeros(1)] if validate else None, ckpt_path=resume, weights_only=True)
    return module.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("limits", [{"max_steps": 12, "max_epochs": -1}, {"max_epochs": 3}], ids=["steps", "epochs"])
def test_a_run_cut_anywhere_goes_on_with_the_same_batches(
    tmp_path: Path, limits: dict[str, int], validate: bool
) -> None:
    whole = fit(limits, validate, folder=tmp_path)
    assert whole == epochs(make(), 3)[: len(whole)]
    cuts = ["batch_1", "batch_4", "batch_5", "epoch_5", "batch_7", "batch_10", "epoch_10"]
    for cut in cuts:
        assert fit(limits, validate, resume=tmp_path / f"{cut}.ckpt") == whole[int(cut.split("_")[1]) :], cut
