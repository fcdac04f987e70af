"""The loader: order as a pure function of (seed, position), shares of processes, batches that are taken ahead."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from genmodels.capabilities import Condition
from genmodels.data import loader as module
from genmodels.data.base import labelled
from genmodels.data.loader import Loader, is_copied
from genmodels.data.transforms import random_flip
from genmodels.errors import UserError
from tests.helpers import epoch

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
        "seed": 0,
        "rank": 0,
        "world_size": 1,
    }
    return Loader(**(plain | {"device": torch.device("cpu")} | changes))


def epochs(loader: Loader, n: int) -> list[list[int]]:
    """The first `n` epochs of a loader, as lists of sample numbers."""
    return [loader.batch(pos)[1]["label"].tolist() for pos in range(n * len(loader))]


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
    drawn = [loader.batch(pos)[0] for pos in range(10)]
    assert all(x.equal(make(visit=noise, batch_size=2, world_size=2).batch(pos)[0]) for pos, x in enumerate(drawn))
    others = [make(visit=noise, batch_size=2, world_size=2, rank=1).batch(pos)[0] for pos in range(10)]
    assert len({tuple(x.flatten().tolist()) for x in drawn + others}) == 20


def test_two_processes_share_what_one_would_have_seen() -> None:
    one = epochs(make(), 2)
    zero, first = (epochs(make(batch_size=2, world_size=2, rank=rank), 2) for rank in (0, 1))
    assert [[x for pair in zip(a, b, strict=True) for x in pair] for a, b in zip(zero, first, strict=True)] == one


def test_without_labels() -> None:
    assert all(condition == {} for _, condition in epoch(make(split=labelled(SPLIT.x, None))))


def test_the_split_is_not_changed() -> None:
    x = torch.randint(256, (8, 3, 4, 4), dtype=torch.uint8)
    before = x.clone()
    epoch(make(split=labelled(x, None), visit=flipped))
    assert x.equal(before)


def test_fewer_samples_than_a_batch() -> None:
    with pytest.raises(UserError, match="22 samples, expected at least 24"):
        make(batch_size=12, world_size=2)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Data that seem to lie elsewhere than on the device: the tensors that were pinned, in order."""
    seen: list[Tensor] = []
    monkeypatch.setattr(module, "is_copied", lambda split, device: True)
    monkeypatch.setattr(Tensor, "pin_memory", lambda t: seen.append(t) or t)
    before = set(threading.enumerate())
    yield seen
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()  # the loader is gone


def test_only_what_lies_elsewhere_than_the_gpu_is_copied() -> None:
    on_gpu = labelled(SPLIT.x.to("meta"), None)
    assert [is_copied(split, torch.device("cuda")) for split in (SPLIT, on_gpu)] == [True, False]
    assert not is_copied(SPLIT, torch.device("cpu")) and not is_copied(SPLIT, torch.device("mps"))


@pytest.mark.parametrize("settings", [{}, {"batch_size": 2, "world_size": 2, "rank": 1}])
def test_batches_that_are_taken_ahead_are_the_same_in_any_order(copied: list[Tensor], settings: dict) -> None:
    ahead = make(visit=flipped, **settings)
    positions = [0, 1, 2, 3, 4, 5, 5, 3, 4, 14, 0, 2, 9, 10, 11]
    drawn = [ahead.batch(pos) for pos in positions]
    assert len(copied) >= 2 * len(positions)
    ahead._thread = None
    for pos, (x, condition) in zip(positions, drawn, strict=True):
        wanted, labels = ahead.batch(pos)
        assert x.equal(wanted) and condition["label"].equal(labels["label"])


def test_the_next_batch_is_taken_once_while_the_last_one_is_used(
    copied: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, plain = epochs(make(), 1), module.take_pinned
    taken, done = [], threading.Semaphore(0)

    def take(split: object, chosen: Tensor) -> object:
        assert threading.current_thread() is not threading.main_thread()
        taken.append(chosen.tolist())
        done.release()
        return plain(split, chosen)

    monkeypatch.setattr(module, "take_pinned", take)
    loader = make()
    for pos in range(4):
        loader.batch(pos)
        assert all(done.acquire(timeout=5) for _ in range(2 if pos == 0 else 1)) and len(taken) == pos + 2
    assert taken == wanted


def test_what_the_thread_raises_is_raised_for_its_batch_alone(
    copied: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, plain = [make().batch(pos)[1]["label"].tolist() for pos in range(5)], module.take_pinned

    def take(split: object, chosen: Tensor) -> object:
        if chosen.tolist() == wanted[2]:
            raise OSError("the disk is gone")
        return plain(split, chosen)

    monkeypatch.setattr(module, "take_pinned", take)
    loader = make()
    assert [loader.batch(pos)[1]["label"].tolist() for pos in (0, 1)] == wanted[:2]
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            loader.batch(2)
    assert loader.batch(3)[1]["label"].tolist() == wanted[3]
