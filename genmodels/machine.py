"""What a run ran on and with which code: facts that stand beside its numbers."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch


@cache
def hardware() -> str:
    """The machine in words, such as "2 x AMD EPYC 9654 (2 threads)" or "1 x NVIDIA H200"."""
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return f"{os.cpu_count()} x {_processor()} ({torch.get_num_threads()} threads)"


def _processor() -> str:
    """The processor's name as Linux gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


@cache
def commit() -> str | None:
    """The commit of the checkout that the package lies in, "+changes" where files differ from it; None elsewhere."""
    place = Path(__file__).resolve().parents[1]
    if not (place / ".git").exists():
        return None
    try:
        said = [
            subprocess.run(["git", "-C", place, *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "genmodels", "configs"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return said[0] + ("+changes" if said[1] else "")
