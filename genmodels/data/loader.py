"""Batches from memory: a batch is a pure function of (seed, position), so a run that stops after any batch continues
with the next one. If samples are memory-mapped (see `genmodels.data.mapped`), only those of a batch are read.

Where the samples are not on the GPU that trains, a thread takes those of the next batch while the GPU works.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from jaxtyping import Int
from torch import Tensor

from genmodels.capabilities import Batch, Condition
from genmodels.data.base import Split
from genmodels.errors import UserError
from genmodels.folds import Folds
from genmodels.seeds import fold
from genmodels.trees import count, over, take, tensors, to

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
    """(x, condition) batches by their position since the start of training, on `device`.

    Each epoch's permutation is cut into global batches of `world_size * batch_size`; an incomplete last batch is
    dropped. Process `rank` takes every `world_size`-th sample of each: the samples of a global batch do not depend on
    the number of processes. Raises UserError where there are fewer samples than one global batch.
    """

    def __init__(
        self,
        *,
        split: Split,
        visit: Visit,  # as stored -> as trained on, such as `Data.visit`
        batch_size: int,  # of this process
        seed: int,
        rank: int,
        world_size: int,
        device: torch.device,
    ):
        require_a_step(split, batch_size * world_size)
        self.split = to_device(split, device)
        self.n = count(self.split.x)
        self.visit = visit
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.device = device
        self._generator = torch.Generator(device)
        in_epoch = len(self)  # not self, which the thread would then outlive
        self._seeds = Folds(seed, lambda pos: (VISIT, *divmod(pos, in_epoch), rank))
        self._epoch, self._order = 0, self.order(0)
        self._thread = ThreadPoolExecutor(1, "next batch") if is_copied(self.split, device) else None  # ends with self
        self._ahead: dict[int, Future[Split]] = {}  # the samples of the next batch, by its position

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self.n // (self.batch_size * self.world_size)

    def batch(self, pos: int) -> LoaderBatch:
        """This process's part of the global batch number `pos`, counted from the start of training."""
        samples = self._copied(pos, self._thread) if self._thread else take(self.split, self._chosen(pos))
        self._generator.manual_seed(self._seeds[pos])
        return self.visit(*samples, self._generator)

    def _chosen(self, pos: int) -> Int[Tensor, " b"]:
        """The numbers of the samples of a batch."""
        epoch, index = divmod(pos, len(self))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.order(epoch)
        size = self.batch_size * self.world_size
        together = self._order[index * size : (index + 1) * size]
        return together[self.rank :: self.world_size]  # for index_select, much faster than x[chosen]

    def _copied(self, pos: int, thread: ThreadPoolExecutor) -> Split:
        """The samples of a batch on the device, those of the next one begun. Raises what the thread raised for them."""
        self._ahead = {
            at: self._ahead.get(at) or thread.submit(take_pinned, self.split, self._chosen(at)) for at in (pos, pos + 1)
        }
        return to(self._ahead.pop(pos).result(), self.device, non_blocking=True)

    def order(self, epoch: int) -> Int[Tensor, " n"]:
        """The permutation of an epoch, on the device of the data."""
        generator = torch.Generator().manual_seed(fold(self.seed, ORDER, epoch))
        return torch.randperm(self.n, generator=generator).to(tensors(self.split.x)[0][1].device)


def is_copied(split: Split, device: torch.device) -> bool:
    """Whether each batch is copied from the CPU's memory, or a file, to a GPU."""
    return device.type == "cuda" and tensors(split.x)[0][1].device.type == "cpu"


def take_pinned(split: Split, chosen: Int[Tensor, " b"]) -> Split:
    """The samples with these numbers, in pinned memory, from which a GPU can copy while the CPU goes on."""
    return over(take(split, chosen), Tensor.pin_memory)


def to_device(split: Split, device: torch.device) -> Split:
    """The split on `device`; unmoved if it needs more than a quarter of a GPU's free memory."""
    size = sum(values.nbytes for tree in split for _, values in tensors(tree))
    if device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] / 4:
        return split
    return Split(to(split.x, device), to(split.condition, device))
