"""Trainings in processes of their own: their memory, how two share the work, how soon one begins."""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import Any

import torch

from benchmarks.pair import Pair
from benchmarks.training import QUIET, by_genmodels, by_hand, config_of
from genmodels.cli import main
from genmodels.engine.launch import WORK, train_in_new_processes
from genmodels.processes.workers import run_workers
from genmodels.training.game import Game

MEMORY_STEPS, SHARED_STEPS, BATCH = 20, (20, 120), 128
WAYS = {"plain": by_hand, "ours": by_genmodels}
# The peak of a process contains that of the process that started it, so a small one stands between this one and it.
LAUNCHER = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def memory(device: torch.device) -> Pair:
    """Peak memory, in MiB: of a fresh process, or what a training takes of a GPU's."""
    peak = peak_on_gpu if device.type == "cuda" else peak_of_process
    return Pair(1, lambda: partial(peak, "plain", device), lambda: partial(peak, "ours", device), rounds=1, unit="MiB")


def peak_of_process(way: str, device: torch.device) -> float:
    return peak_of(f"from benchmarks.processes import train; train({way!r}, {device.type!r})")


def peak_of(code: str) -> float:
    """Peak resident memory of Python with this code, in MiB."""
    return int(python("-c", LAUNCHER, sys.executable, "-c", code)) / (2**20 if sys.platform == "darwin" else 2**10)


def peak_on_gpu(way: str, device: torch.device) -> float:
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    train(way, device.type)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def train(way: str, device: str) -> None:
    WAYS[way](torch.device(device), "model=vae", steps=MEMORY_STEPS)()


def two_processes(device: torch.device) -> Pair:
    """Training by one process and by two, of one thread each, with as many images a process and step."""
    return Pair(1, lambda: partial(seconds_an_image, 1), lambda: partial(seconds_an_image, 2), rounds=1)


def seconds_an_image(processes: int) -> float:
    return float(python("-c", f"from benchmarks.processes import share; share({processes})", OMP_NUM_THREADS="1"))


def share(processes: int) -> None:
    """Prints the seconds that an image takes: of the longer of two trainings, less those of the shorter one."""
    shorter, longer = (seconds_of(processes, steps) for steps in SHARED_STEPS)
    print((longer - shorter) / (processes * BATCH * (SHARED_STEPS[1] - SHARED_STEPS[0])))


def seconds_of(processes: int, steps: int) -> float:
    """A training in new processes."""
    start = time.perf_counter()
    words = ["trainer.strategy=ddp", f"trainer.devices={processes}"] if processes > 1 else []
    config = config_of("model=vae", *words, f"data.batch_size={processes * BATCH}", steps=steps)
    if not train_in_new_processes(config):
        run_workers(WORK, config, [{"RANK": "0"}])
    return time.perf_counter() - start


def startup(device: torch.device) -> Pair:
    """The command of a training up to its first step, beside the imports that any training needs."""
    code = "from benchmarks.processes import first_step; first_step()"
    return Pair(
        1, lambda: partial(python, "-c", "import torch, pytorch_lightning"), lambda: partial(python, "-c", code)
    )


def first_step() -> None:
    """Ends this process after the first step of a training."""
    take = Game.training_step

    def take_and_exit(*args: Any) -> None:
        take(*args)
        os._exit(0)

    Game.training_step = take_and_exit  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        main("train", [*QUIET, "trainer=cpu", f"hydra.run.dir={folder}/run"])


def python(*words: str, **environment: str) -> str:
    """Runs Python, which finds the modules that this process finds, and returns the last line that it prints."""
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, *words], env={**os.environ, **paths, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return (done.stdout.splitlines() or [""])[-1]
