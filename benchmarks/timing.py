"""How fast pieces of work are, as ratios to the plainest code that does the same.

Each pair is timed in turn, several times, and the median of the ratios is shown: it holds when the machine's speed
drifts, but nothing else should run beside it.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from genmodels.config.messages import suggestion
from genmodels.errors import UserError

if TYPE_CHECKING:
    from benchmarks.pairs import Pair

WORKS = {  # name: what is laid beside what
    "training": "150 steps of the VAE on 128 digits: ours beside a loop written by hand",
    "loading": "an epoch of 60,000 images of 28x28: ours beside indexing a tensor",
    "sampling": "16 digits from a PixelCNN: ours, with a cache, beside a pass for each pixel",
    "inception": "Inception features of 32 pictures of 32x32: ours beside published code's",
}
ROUNDS = 5  # in which the two of a pair are timed, one after the other


def run(argv: list[str]) -> int:
    """Times the works that are named, or all of them."""
    if {"-h", "--help"} & set(argv):
        works = "\n".join(f"  {name:11}{text}" for name, text in WORKS.items())
        print(f"usage: genmodels benchmark [WORK ...]\n\n{(__doc__ or '').splitlines()[0]}\n\n{works}")
        return 0
    for name in argv:
        if name not in WORKS:
            raise UserError(f"there is no work {name} to be timed; {suggestion(name, list(WORKS))}")
    show(argv or list(WORKS))
    return 0


def show(names: Sequence[str]) -> None:
    """Times the works and shows a table of them."""
    import warnings

    import torch
    from rich.progress import track
    from rich.table import Table

    from benchmarks.pairs import PAIRS
    from genmodels.console import console

    warnings.filterwarnings("ignore")  # Lightning's
    threads = f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}"
    table = Table("work", "images/s, plain", "images/s, ours", "speed of ours", title=threads, title_justify="left")
    quiet = not console.is_terminal
    for name in track(names, "timing", console=console, transient=True, disable=quiet):
        plain, ours, ratio = timed(PAIRS[name])
        table.add_row(f"{name}: {WORKS[name]}", f"{plain:,.1f}", f"{ours:,.1f}", f"{ratio:.2f} x")
    console.print(table)


def timed(pair: "Pair") -> tuple[float, float, float]:
    """Images a second of the plain and of our way, and how many times as fast ours is: medians over the rounds."""
    plain, ours = pair.plain(), pair.ours()
    plain(), ours()  # caches fill, memory is taken
    times = [(seconds(plain), seconds(ours)) for _ in range(ROUNDS)]
    a, b = (pair.images / statistics.median(each) for each in zip(*times, strict=True))
    return a, b, statistics.median(slow / fast for slow, fast in times)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
