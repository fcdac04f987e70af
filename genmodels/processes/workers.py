"""Starts, watches and ends the processes of this machine that share one piece of work.

The parent takes no part in the work: it can report any failure of the others, and a sweep continues after one. Each
child is `genmodels.processes.worker` with the checked config on its stdin, so that Hydra runs only once, in the parent.

torch.distributed.launcher also starts processes, but promises less (seen with torch 2.13): its processes survive a
killed parent, ignore a second Ctrl-C for half a minute, get SIGTERM as soon as one of them fails, which means a user's
request here, and it finds the first failure only by times in whole seconds.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from genmodels.errors import Fault, Pruned, Stopped, UserError
from genmodels.failures import DONE, INTERRUPTED, LOST, TERMINATED, USERS

GRACE_SECONDS = 5.0  # for the others to end by themselves after a process has failed
POLL_SECONDS = 0.1


def run_workers(work: str, config: Mapping[str, Any], environments: Sequence[Mapping[str, str]]) -> None:
    """Calls the function `work` ("package.module:name") with a config in one process for each environment.

    An environment contains the variables of its process, such as RANK, in addition to those of the parent.

    Raises:
        UserError, Fault, Stopped, Pruned: as in the process that failed first.
    """
    reports, report = os.pipe()
    os.set_blocking(reports, False)
    command = [sys.executable, "-P", "-m", "genmodels.processes.worker", work, str(report)]
    paths = {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    }  # can import what the parent can
    how: dict[str, Any] = {"stdin": subprocess.PIPE, "pass_fds": [report], "start_new_session": True, "text": True}
    workers = [subprocess.Popen(command, env={**os.environ, **paths, **own}, **how) for own in environments]
    os.close(report)
    try:
        with _forwarding(workers) as asked:
            for worker in workers:
                with suppress(BrokenPipeError):  # it has ended already, which `_wait` finds
                    print(json.dumps(config), file=worker.stdin, flush=True)
            lost = _wait(workers, asked)
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    first = int(environments[0]["RANK"])
    raise_first(_read(reports), {first + number: status for number, status in lost.items()}, asked)


@contextmanager
def _forwarding(workers: list[subprocess.Popen]) -> Iterator[list[int]]:
    """Forwards SIGINT and SIGTERM to the processes; yields the list of received signals."""
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


def _wait(workers: list[subprocess.Popen], asked: list[int]) -> dict[int, int]:
    """Waits for all processes, but only GRACE_SECONDS after a failure or a second Ctrl-C; returns the statuses of the
    failed ones, by number."""
    deadline = float("inf")
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        if deadline == float("inf") and (_hurried(asked) or any(worker.returncode for worker in workers)):
            deadline = time.monotonic() + GRACE_SECONDS
    late = -signal.SIGINT if _hurried(asked) else None
    statuses = [late if worker.returncode is None else worker.returncode for worker in workers]
    return {number: status for number, status in enumerate(statuses) if status}


def _hurried(asked: list[int]) -> bool:
    """Whether Ctrl-C has come twice."""
    return asked.count(signal.SIGINT) > 1


def _read(reports: int) -> list[dict[str, Any]]:
    """The failure reports of the processes, the first one first."""
    with open(reports, "rb", buffering=0) as pipe:
        return [json.loads(line) for line in (pipe.read() or b"").splitlines()]


def raise_first(reports: list[dict[str, Any]], lost: dict[int, int], asked: list[int]) -> None:
    """Raises the error of the process that failed first; others may have failed because that one ended."""
    silent = {rank: status for rank, status in lost.items() if rank not in {report["rank"] for report in reports}}
    if silent and asked and not reports:
        raise Stopped(asked[0], "ended by a signal; nothing was saved since the last checkpoint", together=True)
    for rank, status in silent.items():
        if status < 0:
            raise Fault(
                f"rank {rank} was killed by {signal.Signals(-status).name}, perhaps because the machine ran out of "
                "memory; resume a training from its last checkpoint with resume=RUN_DIR"
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
