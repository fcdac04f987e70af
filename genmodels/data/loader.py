"""Batches from memory: which one comes next is a pure function of (seed, position), and the position is a number.

`Trainer.fit` takes it as a training loader: Lightning keeps `state_dict()` in its checkpoints, so a run that is cut
after any batch goes on with the batches it would have seen. Where the samples are a memory-mapped file (see
`genmodels.data.mapped`) only those of a batch are read.
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
            f"the training data have {n} samples, expected at least the {together} of one step; "
            f"lower data.batch_size to {n} or less"
        )


class Loader:
    """Iterates (x, condition) batches on `device`: as many as an epoch has, from the present position on.

    Each epoch's permutation is cut into global batches of `world_size * batch_size`, those of an incomplete last step
    dropped, and process `rank` takes every `world_size`-th sample of each: the samples of a global batch do not depend
    on how many processes share it, nor do those of the parts into which it may be cut. Raises UserError where there
    are fewer samples than one global batch.
    """

    def __init__(
        self,
        *,
        split: Split,
        visit: Visit,  # as stored -> as trained on, such as `Data.visit`
        batch_size: int,  # of this process
        batches_per_step: int,  # accumulated by an optimizer step; an epoch has whole steps
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
        self.pos = 0  # global batches given out since training began
        self._generator = torch.Generator(device)
        self._epoch, self._order = 0, self.order(0)

    def __len__(self) -> int:
        """Batches of an epoch."""
        step = self.batch_size * self.world_size * self.batches_per_step
        return self.n // step * self.batches_per_step

    def __iter__(self) -> Iterator[LoaderBatch]:
        for _ in range(len(self)):
            self.pos += 1  # before the yield: what follows an epoch's last one never runs
            yield self.batch(self.pos - 1)

    def batch(self, pos: int) -> LoaderBatch:
        """This process's part of the global batch at `pos`, counted from the beginning of training."""
        epoch, index = divmod(pos, len(self))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order(epoch)
        size = self.batch_size * self.world_size
        together = self._order[index * size : (index + 1) * size]
        chosen = together[self.rank :: self.world_size]  # for index_select: several times as fast as x[chosen]
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
        """Goes on from a position."""
        self.pos = state["pos"]

    @property
    def sampler(self) -> "Loader":
        """Where Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Starts at `epoch`, unless the position is known already.

        Lightning calls it before every epoch. Where it resumes it may count one epoch too many, so the position rules;
        but between two epochs of a run that `max_epochs` limits it restores no position, only this number.
        """
        if self.pos == 0:
            self.pos = epoch * len(self)


def to_device(split: Split, device: torch.device) -> Split:
    """The split on `device`, or where it was if it would fill more than a quarter of a GPU's free memory."""
    size = sum(values.nbytes for tree in split for _, values in tensors(tree))
    if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] / 4:
        return split
    return Split(to(split.x, device), to(split.condition, device))
