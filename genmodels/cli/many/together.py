"""Processes started together, by torchrun, srun or `spawn`: who this one is, and what they agree on at first."""

import os
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from genmodels.cli.failures import FAULT
from genmodels.errors import UserError

OF_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
STARTED_HERE = "GENMODELS_STARTED_TOGETHER"  # set for the processes that `spawn` starts
PATIENCE = timedelta(minutes=30)  # for the last process to come, as between nodes that start one after the other


class Place(NamedTuple):
    """A process among those started together."""

    rank: int
    world: int


def together() -> Place:
    """This process's rank and the number of processes; (0, 1) where it was started alone, or by `launch`."""
    if STARTED_HERE in os.environ:
        return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if "TORCHELASTIC_RUN_ID" in os.environ:
        if missing := [name for name in OF_TORCHRUN if name not in os.environ]:
            raise UserError(f"TORCHELASTIC_RUN_ID is set and {missing[0]} is not; start by torchrun, or unset it")
        return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if "SLURM_PROCID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return Place(int(os.environ["SLURM_PROCID"]), int(os.environ.get("SLURM_NTASKS", "1")))
    return Place(0, 1)


def started(pattern: str) -> str:
    """When the program was started, as strftime writes it: the same for all processes, which name a directory by it."""
    if together().world == 1:
        return datetime.now().strftime(pattern)
    return _start().strftime(pattern)


@cache
def _start() -> datetime:
    key = f"started/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if together().rank == 0:
        meeting_point().set(key, datetime.now().isoformat())
    return datetime.fromisoformat(meeting_point().get(key).decode())


def to_be_said(sentence: str, status: int) -> str:
    """The sentence for this process to end with: a fault with its rank, and nothing where another has said the same."""
    try:
        rank, world = together()
        if world == 1 or not sentence:
            return sentence
        said = f"rank {rank}: {sentence}" if status == FAULT else sentence
        return said if meeting_point().add(f"said/{said}", 1) == 1 else ""
    except (UserError, RuntimeError):  # there is no place to meet, or it went with the first process: rather twice
        return sentence


@cache
def meeting_point() -> Any:
    """Where the processes leave each other notes: torchrun's own store, or that of the first process, kept to the end.

    The environment tells torch of it, too, where it was SLURM that started the processes.
    """
    import torch.distributed as dist

    rank, world = together()
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    if not {"TORCHELASTIC_RUN_ID", STARTED_HERE} & os.environ.keys():
        from lightning_fabric.plugins.environments import SLURMEnvironment

        slurm = SLURMEnvironment()
        os.environ |= {"MASTER_ADDR": slurm.main_address, "MASTER_PORT": str(slurm.main_port)}
    store, *_ = next(iter(dist.rendezvous("env://", timeout=PATIENCE)))
    return dist.PrefixStore("genmodels", store)
