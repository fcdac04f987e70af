"""How fast pieces of work are, as ratios to the plainest code that does the same.

Each pair is timed in turn, several times, and the median of the ratios is shown: it holds when the machine's speed
drifts, but nothing else should run beside it.
"""

import statistics
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks.works import CPU, DEVICES, WORKS, Work
from genmodels.config.messages import suggestion
from genmodels.errors import UserError

if TYPE_CHECKING:
    from benchmarks.pair import Pair, Piece

ROUNDS = 5  # at most
USAGE = """usage: genmodels benchmark [WORK ...] [--device cpu|cuda]

{about}

{works}

Without a name all are timed. pip install diffusers pythae: the peers that some works need.\
"""


def run(argv: list[str]) -> int:
    """Times the works that are named, or all of them."""
    if {"-h", "--help"} & set(argv):
        works = "\n".join(f"  {name:20}{work.text}" for name, work in WORKS.items())
        print(USAGE.format(about=(__doc__ or "").splitlines()[0], works=works))
        return 0
    device, names = split_words(argv)
    for name in names:
        if name not in WORKS:
            raise UserError(f"there is no work {name} to be timed; {suggestion(name, list(WORKS))}")
        if device not in WORKS[name].goals:
            raise UserError(f"{name} is timed on the CPU only; leave it out, or leave --device {device} out")
    require(device)
    show(names or [name for name, work in WORKS.items() if device in work.goals], device)
    return 0


def split_words(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The device, and the names of the works. UserError for any other flag or device."""
    device, names = CPU, []
    words = iter(word for each in argv for word in (each.split("=", 1) if each.startswith("--") else [each]))
    for word in words:
        if word == "--device":
            device = next(words, "nothing")
        elif word.startswith("-"):
            raise UserError(f"there is no flag {word}; choices are --device, --help")
        else:
            names.append(word)
    if device not in DEVICES:
        raise UserError(f"--device got {device}, expected one of {', '.join(DEVICES)}")
    return device, names


def require(device: str) -> None:
    """UserError where there is no such device."""
    import torch

    if device != CPU and not torch.cuda.is_available():
        raise UserError(f"--device {device} needs a GPU that PyTorch can use, and there is none; leave it out")


def show(names: Sequence[str], device: str) -> None:
    """Times the works and shows a table of them."""
    import warnings

    import torch
    from rich.progress import track
    from rich.table import Table

    from benchmarks.pairs import PAIRS
    from genmodels.console import console

    warnings.filterwarnings("ignore")  # Lightning's
    table = Table("work", "plain", "ours", "ratio", "goal", title=about(device), title_justify="left")
    for name in track(names, "timing", console=console, transient=True, disable=not console.is_terminal):
        work = WORKS[name]
        missing = lacking(work, device)
        cells = [missing, "", ""] if missing else timed(PAIRS[name](torch.device(device)), device)
        goal = work.goals[device]
        table.add_row(f"{name}: {work.text}", *cells, "-" if goal is None else f"{goal:g} x")
    console.print(table)


def lacking(work: Work, device: str) -> str | None:
    """What this machine lacks for the work."""
    if work.peer and find_spec(work.peer) is None:
        return f"not installed: pip install {work.peer}"
    import torch

    if work.bf16 and device == CPU and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this CPU has no instructions for bfloat16"
    return None


def about(device: str) -> str:
    """What is timed on."""
    import torch

    from genmodels.machine import hardware

    threads = f"{torch.get_num_threads()} threads" if device == CPU else hardware()
    return f"{threads}, PyTorch {torch.__version__}; ratio: how many times as fast, or as small, ours is"


def timed(pair: "Pair", device: str) -> list[str]:
    """What is shown of plain and of ours, and how many times as fast or small ours is: medians over the rounds."""
    plain, ours = pair.plain(), pair.ours()
    cost(plain, device), cost(ours, device)  # caches fill, memory is taken
    costs = [(cost(plain, device), cost(ours, device)) for _ in range(min(ROUNDS, pair.rounds))]
    a, b = (pair.shown(statistics.median(each)) for each in zip(*costs, strict=True))
    return [a, b, f"{statistics.median(high / low for high, low in costs):.2f} x"]


def cost(piece: "Piece", device: str) -> float:
    """What the work says that it costs, else the seconds that it takes."""
    from benchmarks.pair import wait

    wait(device)
    start = time.perf_counter()
    said = piece()
    wait(device)
    return said if isinstance(said, float) else time.perf_counter() - start
