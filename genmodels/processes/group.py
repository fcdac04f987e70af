"""Commands without a Trainer on several processes: joins them to one group, with one device each."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from genmodels.errors import UserError
from genmodels.processes.rendezvous import local_rank, meeting_point, this_process


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Sets `device` for this process, and joins the other processes of the run, if any.

    A GPU is set before the first collective, which would otherwise use the first GPU in every process.
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
    """Leaves the process group of a training; if Python's exit did it, the group's threads would abort the process."""
    if dist.is_initialized():
        dist.destroy_process_group()


def device_named(name: str) -> torch.device:
    """A device by name; "auto" is this process's GPU, or the CPU where there is no GPU, "cuda" its GPU."""
    gpus = torch.cuda.device_count()
    if name == "auto" and not gpus:
        return torch.device("cpu")
    if name in ("auto", "cuda") and gpus:
        if local_rank() >= gpus:
            raise UserError(
                f"process {local_rank()} of this machine needs a GPU of its own, and there are {gpus}; start fewer "
                "processes, or set device=cpu"
            )
        return torch.device("cuda", local_rank())
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} cannot be used here ({str(error).splitlines()[0]}); use device=cpu") from error
