"""The rendezvous of processes started together, by torchrun, srun or `spawn`: ranks, shared store, start time."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from functools import cache
from threading import Thread
from typing import Any, NamedTuple

from genmodels.errors import Fault, UserError
from genmodels.failures import FAULT, INTERRUPTED, TERMINATED, one_line

OF_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
OF_STEP = "SLURM_STEP_NUM_TASKS"  # only srun sets it; the other SLURM variables are set in the whole allocation
STARTED_HERE = "GENMODELS_STARTED_TOGETHER"  # set for the processes that `spawn` and `launch` start
PATIENCE = timedelta(minutes=30)  # to wait for the last process; nodes may start at different times
QUIET_SECONDS = 5.0  # to wait before a message says so


class ProcessRank(NamedTuple):
    """The rank of a process, and the number of processes in its run."""

    rank: int
    world: int


def this_process() -> ProcessRank:
    """This process's rank and the number of processes; (0, 1) for a single process."""
    if STARTED_HERE in os.environ:
        return ProcessRank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if "TORCHELASTIC_RUN_ID" in os.environ:
        if missing := [name for name in OF_TORCHRUN if name not in os.environ]:
            raise UserError(f"TORCHELASTIC_RUN_ID is set and {missing[0]} is not; start by torchrun, or unset it")
        return ProcessRank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    if started_by_srun():
        return ProcessRank(int(os.environ["SLURM_PROCID"]), int(os.environ[OF_STEP]))
    return ProcessRank(0, 1)


def started_by_srun() -> bool:
    """Whether srun started this process as a task; the job names of its interactive shells do not count."""
    return OF_STEP in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def local_rank() -> int:
    """This process's rank within its machine."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))


def started(pattern: str) -> str:
    """The start time by strftime's `pattern`, the same on all processes, which name a directory by it."""
    if this_process().world == 1:
        return datetime.now().strftime(pattern)
    return _start().strftime(pattern)


@cache
def _start() -> datetime:
    key = f"started/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
    if this_process().rank == 0:
        meeting_point().set(key, datetime.now().isoformat())
    return datetime.fromisoformat(_in_background(lambda: meeting_point().get(key)).result().decode())


def final_sentence(sentence: str, status: int) -> str:
    """The sentence that this process prints at its end: a fault with the rank, "" if another has printed it."""
    try:
        rank, world = this_process()
        if world == 1 or not sentence or (status in (INTERRUPTED, TERMINATED) and not _joining().done()):
            return sentence
        said = f"rank {rank}: {sentence}" if status == FAULT else sentence
        return said if meeting_point().add(f"said/{said}", 1) == 1 else ""
    except (UserError, Fault, RuntimeError):  # no shared store, or it ended with the first process
        return sentence


def meeting_point() -> Any:
    """The key-value store that all processes share: torchrun's, or one of rank zero, which lives until it ends.

    Waits for all processes, prints a message if that takes long, and can be interrupted.

    Raises:
        Fault: the processes do not all connect.
    """
    joining = _joining()
    try:
        joining.exception(QUIET_SECONDS)
    except TimeoutError:
        _say_what_is_waited_for()
    try:
        return joining.result()
    except RuntimeError as error:  # torch's
        raise Fault(
            f"the {this_process().world} processes of this run do not meet at {_address()} ({one_line(str(error))}); "
            "start as many as the config needs, or set another MASTER_PORT if this one is in use"
        ) from error


def _say_what_is_waited_for() -> None:
    if local_rank() == 0:
        rank, world = this_process()
        print(
            f"genmodels: rank {rank} waits until all {world} processes of this run connect to {_address()}; on each "
            "other machine start the same command, with the same MASTER_ADDR and MASTER_PORT and its own NODE_RANK",
            file=sys.stderr,
            flush=True,
        )


def _address() -> str:
    return f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"


@cache
def _joining() -> Future[Any]:
    """The shared store, once all processes have joined; also sets the environment variables that torch reads."""
    import torch.distributed as dist

    rank, world = this_process()
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    if not {"TORCHELASTIC_RUN_ID", STARTED_HERE} & os.environ.keys():
        from lightning_fabric.plugins.environments import SLURMEnvironment

        slurm = SLURMEnvironment()
        os.environ |= {"MASTER_ADDR": slurm.main_address, "MASTER_PORT": str(slurm.main_port)}

    def join() -> Any:
        store, *_ = next(iter(dist.rendezvous("env://", timeout=PATIENCE)))
        return dist.PrefixStore("genmodels", store)

    return _in_background(join)


def _in_background(work: Callable[[], Any]) -> Future[Any]:
    """The result of `work` in a thread of its own: signals interrupt this waiting, but not waiting in torch's C++."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
