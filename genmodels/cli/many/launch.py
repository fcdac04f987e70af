"""The processes of a run on several devices: started here, watched, and ended together.

This process takes no part in the training: whatever happens to the others, it is there to say so, and a sweep goes on.
Each of them is `genmodels.cli.many.worker` with the checked config on its stdin, so that Hydra runs once, here. Where
torchrun or srun have started the processes there is nothing to start. Lightning's own launcher would run the command
line again in each process, a sweep too, and ends a run whose process has died by killing the rest without a word.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from lightning_fabric.plugins import ClusterEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import ParallelStrategy
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher

from genmodels.cli import build
from genmodels.cli.failures import DONE, INTERRUPTED, LOST, TERMINATED, USERS
from genmodels.cli.many.together import together
from genmodels.errors import Fault, Pruned, Stopped, UserError

GRACE_SECONDS = 5.0  # for the others to end by themselves, once a process has failed
POLL_SECONDS = 0.1


def trains_elsewhere(config: Mapping[str, Any]) -> bool:
    """Whether this config's processes had to be started and have trained; what is wrong with it is found before.

    Raises:
        UserError, Fault, Stopped: as the process that failed first.
    """
    trainer = build.trainer({**config, "logger": {}}, {})
    _require_world(trainer)
    _refuse_strays(trainer)
    strategy = trainer.strategy
    place = strategy.cluster_environment if isinstance(strategy, ParallelStrategy) else None
    if place is None or place.creates_processes_externally:
        return False
    if isinstance(strategy.launcher, _MultiProcessingLauncher):
        raise UserError(f"trainer.strategy={config['trainer']['strategy']} is for notebooks; set trainer.strategy=ddp")
    data = build.part(config["data"])
    data.training_split()
    build.evaluation(config, data)
    build.training(config, data, trainer)
    _run(config, trainer, place)
    return True


def _require_world(trainer: Trainer) -> None:
    started, asked = together().world, trainer.world_size
    if started not in (1, asked):
        raise UserError(
            f"{started} processes were started, and the config asks for {asked} (trainer.devices x trainer.num_nodes); "
            f"set trainer=ddp with trainer.devices, the number on each machine, and trainer.num_nodes"
        )


def _refuse_strays(trainer: Trainer) -> None:
    """UserError where the environment makes this process one of several, and there are no others."""
    if together().world > 1:
        return
    alone = trainer.world_size == 1
    for name in ("LOCAL_RANK", "RANK", "NODE_RANK"):
        value = os.environ.get(name, "0")
        if (alone and value != "0") or (not alone and name == "LOCAL_RANK" and name in os.environ):
            raise UserError(
                f"{name}={value} is set, as for one of several processes, and no torchrun or srun has started any; "
                "unset it"
            )


def _run(config: Mapping[str, Any], trainer: Trainer, place: ClusterEnvironment) -> None:
    """Starts one process for each device of this machine and waits for all."""
    reports, report = os.pipe()
    os.set_blocking(reports, False)
    command = [sys.executable, "-P", "-m", "genmodels.cli.many.worker", str(report)]
    how: dict[str, Any] = {"stdin": subprocess.PIPE, "pass_fds": [report], "start_new_session": True, "text": True}
    workers = [subprocess.Popen(command, env=environment, **how) for environment in _environments(trainer, place)]
    os.close(report)
    try:
        with _forwarding(workers) as asked:
            for worker in workers:
                with suppress(BrokenPipeError):  # it is gone already, which the next line finds
                    print(json.dumps(config), file=worker.stdin, flush=True)
            lost = _wait(workers)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    first = place.node_rank() * len(workers)
    raise_first(_read(reports), {first + number: status for number, status in lost.items()}, asked)


def _environments(trainer: Trainer, place: ClusterEnvironment) -> Iterator[dict[str, str]]:
    """What each process of this machine needs to find the others, and to import what this one can."""
    shared = {"MASTER_ADDR": place.main_address, "MASTER_PORT": str(place.main_port)}
    shared |= {"NODE_RANK": str(place.node_rank()), "WORLD_SIZE": str(trainer.world_size)}
    shared |= {"PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}
    for local in range(trainer.num_devices):
        rank = place.node_rank() * trainer.num_devices + local
        yield {**os.environ, **shared, "LOCAL_RANK": str(local), "RANK": str(rank)}


@contextmanager
def _forwarding(workers: list[subprocess.Popen]) -> Iterator[list[int]]:
    """Hands the signals that ask a run to end on to its processes; yields those that came."""
    asked: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for worker in workers:
            worker.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(workers: list[subprocess.Popen]) -> dict[int, int]:
    """Waits for all to end, once one has failed only for a while; the statuses of those that failed, by number."""
    deadline = float("inf")
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        if deadline == float("inf") and any(worker.returncode for worker in workers):
            deadline = time.monotonic() + GRACE_SECONDS
    return {number: worker.returncode for number, worker in enumerate(workers) if worker.returncode}


def _read(reports: int) -> list[dict[str, Any]]:
    """What processes have said of their ends, the first one first."""
    with open(reports, "rb", buffering=0) as pipe:
        return [json.loads(line) for line in (pipe.read() or b"").splitlines()]


def raise_first(reports: list[dict[str, Any]], lost: dict[int, int], asked: list[int]) -> None:
    """Raises what the process that failed first did: the others fail because it is gone, and then some say so."""
    silent = {rank: status for rank, status in lost.items() if rank not in {report["rank"] for report in reports}}
    if silent and asked and not reports:
        raise Stopped(asked[0], "ended by a signal before the training began", together=True)
    for rank, status in silent.items():
        if status < 0:
            raise Fault(
                f"rank {rank} was killed by {signal.Signals(-status).name}, as a machine does that runs out of memory; "
                "go on from the last checkpoint with resume=RUN_DIR"
            )
    reports.sort(key=lambda report: report["sentence"] == LOST)
    for rank, status in silent.items():
        if not reports or reports[0]["sentence"] == LOST:
            raise Fault(f"rank {rank} ended with status {status}; what it wrote above says why")
    for report in reports:
        _raise(**report)


def _raise(rank: int, sentence: str, status: int) -> None:
    if status == USERS:
        raise UserError(sentence)
    if status == DONE:
        raise Pruned(sentence)
    if status in (INTERRUPTED, TERMINATED):
        raise Stopped(signal.SIGINT if status == INTERRUPTED else signal.SIGTERM, sentence, together=True)
    raise Fault(f"rank {rank}: {sentence}")
