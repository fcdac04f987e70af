"""`devices=N` of commands without a Trainer: N processes of this machine share the work, with one device each."""

import os
import socket
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import Any

from genmodels.errors import UserError
from genmodels.processes.rendezvous import STARTED_HERE, this_process
from genmodels.processes.workers import run_workers


def run_on(work: str, config: dict[str, Any]) -> Any:
    """Calls the function `work` ("module:name") with a checked config, in this process or in `devices` new ones.

    Returns the result only in this process. New processes join by `process_group`. If torchrun or srun started the
    processes, this is one of them and works here.

    Raises:
        UserError, Fault, Stopped: as in `work`, or as in the process that failed first.
    """
    world, devices = this_process().world, config.get("devices", 1)
    if devices < 1:
        raise UserError(f"devices is {devices}, expected the number of processes, at least 1")
    if world > 1 and devices not in (1, world):
        raise UserError(f"{world} processes were started, and devices is {devices}; leave it out, or set it to {world}")
    if devices == 1 or world > 1:
        result = resolve_name(work)(config)
        from genmodels.processes.group import leave_group  # imports torch, as the work has done

        leave_group()
        return result
    _require_gpus(devices, config["device"])
    run_workers(work, config, list(_environments(devices)))


def _require_gpus(devices: int, device: str) -> None:
    """UserError where there are fewer GPUs than processes."""
    import torch

    if ":" in device:
        raise UserError(
            f"device={device} is a single device, and devices={devices} needs several; use device=auto or cpu"
        )
    there = torch.cuda.device_count()
    if device != "cpu" and 0 < there < devices:
        raise UserError(f"devices={devices} is more than the {there} GPUs of this machine; lower it")


def _environments(devices: int) -> Iterator[dict[str, str]]:
    """The environment variables by which each process finds the others; all together use one thread per core."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    shared = {STARTED_HERE: "1", "WORLD_SIZE": str(devices), "OMP_NUM_THREADS": threads, **meeting}
    for rank in range(devices):
        yield {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
