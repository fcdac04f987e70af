"""Batches from memory: the next batch is a pure function of (seed, position), and the position is a number.

`Trainer.fit` takes it as a training loader. Lightning keeps `state_dict()` in its checkpoints, so a run that stops
after any batch continues with the next one. If samples are memory-mapped (see `genmodels.data.mapped`), only those
of a batch are read.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from genmodels.capabilities import Batch, Condition
from genmodels.data.base import Split
from genmodels.errors import UserError
from genmodels.seeds import fold
from genmodels.trees import count, take, tensors, to

ORDER, VISIT = 1, 2  # two streams of random numbers of one seed
LoaderBatch = tuple[Batch, Condition]
Visit = Callable[[Batch, Condition, torch.Generator], LoaderBatch]


def require_a_step(split: Split, together: int) -> None:
    """UserError where there are fewer samples than one optimizer step takes."""
    if (n := count(split.x)) < together:
        raise UserError(
            f"the training data have {n} samples, expected at least {together}, the size of one step; "
            f"lower data.batch_size to {n} or less"
        )


class Loader:
    """Iterates over (x, condition) batches on `device`: the batches of one epoch, from the current position on.

    Each epoch's permutation is cut into global batches of `world_size * batch_size`; batches of an incomplete last
    step are dropped. Process `rank` takes every `world_size`-th sample of each: the samples of a global batch do not
    depend on the number of processes, nor on its division by accumulation. Raises UserError where there are fewer
    samples than one global batch.
    """

    def __init__(
        self,
        *,
        split: Split,
        visit: Visit,  # as stored -> as trained on, such as `Data.visit`
        batch_size: int,  # of this process
        batches_per_step: int,  # accumulated by an optimizer step; an epoch has only complete steps
        seed: int,
        rank: int,
        world_size: int,
        device: torch.device,
    ):
        require_a_step(split, batch_size * world_size * batches_per_step)
        self.split = to_device(split, device)
        self.n = count(self.split.x)
        self.visit = visit
        self.batch_size = batch_size
        self.batches_per_step = batches_per_step
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.device = device
        self.pos = 0  # global batches since the start of training
        self._generator = torch.Generator(device)
        self._epoch, self._order = 0, self.order(0)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        step = self.batch_size * self.world_size * self.batches_per_step
        return self.n // step * self.batches_per_step

    def __iter__(self) -> Iterator[LoaderBatch]:
        for _ in range(len(self)):
            self.pos += 1  # before the yield: code after the last yield of an epoch never runs
            yield self.batch(self.pos - 1)

    def batch(self, pos: int) -> LoaderBatch:
        """This process's part of the global batch number `pos`, counted from the start of training."""
        epoch, index = divmod(pos, len(self))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order(epoch)
        size = self.batch_size * self.world_size
        together = self._order[index * size : (index + 1) * size]
        chosen = together[self.rank :: self.world_size]  # for index_select, much faster than x[chosen]
        self._generator.manual_seed(fold(self.seed, VISIT, epoch, index, self.rank))
        x, condition = (to(take(tree, chosen), self.device) for tree in self.split)
        return self.visit(x, condition, self._generator)

    def order(self, epoch: int) -> Int[Tensor, " n"]:
        """The permutation of an epoch, on the device of the data."""
        generator = torch.Generator().manual_seed(fold(self.seed, ORDER, epoch))
        return torch.randperm(self.n, generator=generator).to(tensors(self.split.x)[0][1].device)

    def state_dict(self) -> dict[str, int]:
        """The position."""
        return {"pos": self.pos}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Sets the position."""
        self.pos = state["pos"]

    @property
    def sampler(self) -> "Loader":
        """Lightning looks for `set_epoch` here."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Starts at `epoch`, unless the position is known already.

        Lightning calls it before every epoch. When it resumes, it may count one epoch too many, so the position has
        priority; but between two epochs of a run with `max_epochs` it restores only this number, not the position.
        """
        if self.pos == 0:
            self.pos = epoch * len(self)


def to_device(split: Split, device: torch.device) -> Split:
    """The split on `device`; unmoved if it needs more than a quarter of a GPU's free memory."""
    size = sum(values.nbytes for tree in split for _, values in tensors(tree))
    if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] / 4:
        return split
    return Split(to(split.x, device), to(split.condition, device))
