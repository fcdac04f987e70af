"""The loader: order as a pure function of (seed, position), shares of processes."""

import pytest
import torch
from torch import Tensor

from genmodels.capabilities import Condition
from genmodels.data.base import labelled
from genmodels.data.loader import Loader
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
