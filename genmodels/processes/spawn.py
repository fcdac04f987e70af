"""`devices=N` of the commands without a Trainer: the same work by N processes of this machine, one device each."""

import os
import socket
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import Any

from genmodels.errors import UserError
from genmodels.processes.rendezvous import STARTED_HERE, this_process
from genmodels.processes.workers import run_workers


def run_on(work: str, config: dict[str, Any]) -> Any:
    """Calls the function `work` ("module:name") with a checked config: here, which gives what it returns, or in as many
    processes as the config's `devices` says.

    There it finds the others by `process_group`. Where torchrun or srun have started the processes, this is one of
    them and all is done here.

    Raises:
        UserError, Fault, Stopped: as `work`, or as the process that failed first.
    """
    world, devices = this_process().world, config.get("devices", 1)
    if devices < 1:
        raise UserError(f"devices is {devices}, expected the number of processes, at least 1")
    if world > 1 and devices not in (1, world):
        raise UserError(f"{world} processes were started, and devices is {devices}; leave it out, or set it to {world}")
    if devices == 1 or world > 1:
        result = resolve_name(work)(config)
        from genmodels.processes.group import leave_group  # and torch with it, which the work has imported

        leave_group()
        return result
    _require_gpus(devices, config["device"])
    run_workers(work, config, list(_environments(devices)))


def _require_gpus(devices: int, device: str) -> None:
    """UserError where there are fewer GPUs than processes that would take one each."""
    import torch

    if ":" in device:
        raise UserError(f"device={device} is one, and devices={devices} asks for several; use device=auto or cpu")
    there = torch.cuda.device_count()
    if device != "cpu" and 0 < there < devices:
        raise UserError(f"devices={devices} asks for more than the {there} GPUs of this machine; lower it")


def _environments(devices: int) -> Iterator[dict[str, str]]:
    """What each process needs to find the others; together they have as many threads as there are cores."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    shared = {STARTED_HERE: "1", "WORLD_SIZE": str(devices), "OMP_NUM_THREADS": threads, **meeting}
    for rank in range(devices):
        yield {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
