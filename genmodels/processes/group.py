"""Commands without a Trainer on several processes, whoever started them: one group, one device each."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from genmodels.errors import UserError
from genmodels.processes.rendezvous import local_rank, meeting_point, this_process


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Makes `device` this process's own, and joins the processes that were started beside it, if there are any.

    A GPU is set before the first collective, which would else take the first one in every process.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if this_process().world == 1:
        yield
        return
    meeting_point()
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def leave_group() -> None:
    """Ends this process's part in a training's group: left to the end of Python, its threads abort the process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def device_named(name: str) -> torch.device:
    """A device by name; "auto" is this process's GPU, or the CPU where there is none, "cuda" its GPU."""
    gpus = torch.cuda.device_count()
    if name == "auto" and not gpus:
        return torch.device("cpu")
    if name in ("auto", "cuda") and gpus:
        if local_rank() >= gpus:
            raise UserError(
                f"process {local_rank()} of this machine would take a GPU of its own, and there are {gpus}; start "
                "fewer processes, or set device=cpu"
            )
        return torch.device("cuda", local_rank())
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} cannot be used here ({str(error).splitlines()[0]}); use device=cpu") from error
