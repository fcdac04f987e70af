"""How fast pieces of work are, as ratios to the plainest code that does the same.

Each pair is timed in turn, several times, and the median of the ratios is shown: it holds when the machine's speed
drifts, but nothing else should run beside it.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from genmodels.config.messages import suggestion
from genmodels.errors import UserError

if TYPE_CHECKING:
    from benchmarks.pairs import Pair

MODELS = ("vae_mlp", "vae", "pixelcnn", "realnvp", "dcgan", "ddpm")


class Work(NamedTuple):
    """What is laid beside what."""

    text: str
    goal: float  # how many times as fast ours should be


WORKS = {
    **{model: Work(f"steps of {model} on the digits: ours beside a loop written by hand", 0.97) for model in MODELS},
    "small_step": Work("steps of a VAE of 784-200-200-50 on 20 images: ours beside a loop written by hand", 0.9),
    "loading": Work("an epoch of 60,000 images of 28x28: ours beside indexing a tensor", 0.95),
    "sampler": Work("16 digits from DDPM: ours beside as many passes of the network", 0.97),
    "sampling": Work("16 digits from a PixelCNN: ours, with a cache, beside a pass for each pixel", 20.0),
    "inception": Work("Inception features of 32 pictures of 32x32: ours beside published code's", 1.6),
}
ROUNDS = 5  # in which the two of a pair are timed, one after the other


def run(argv: list[str]) -> int:
    """Times the works that are named, or all of them."""
    if {"-h", "--help"} & set(argv):
        works = "\n".join(f"  {name:11}{work.text}" for name, work in WORKS.items())
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
    table = Table(
        "work", "a second, plain", "a second, ours", "speed of ours", "goal", title=threads, title_justify="left"
    )
    quiet = not console.is_terminal
    for name in track(names, "timing", console=console, transient=True, disable=quiet):
        plain, ours, ratio = timed(PAIRS[name])
        work = WORKS[name]
        table.add_row(f"{name}: {work.text}", f"{plain:,.1f}", f"{ours:,.1f}", f"{ratio:.2f} x", f"{work.goal:g} x")
    console.print(table)


def timed(pair: "Pair") -> tuple[float, float, float]:
    """Steps or images a second, plain and ours, and how many times as fast ours is: medians over the rounds."""
    plain, ours = pair.plain(), pair.ours()
    plain(), ours()  # caches fill, memory is taken
    times = [(seconds(plain), seconds(ours)) for _ in range(ROUNDS)]
    a, b = (pair.units / statistics.median(each) for each in zip(*times, strict=True))
    return a, b, statistics.median(slow / fast for slow, fast in times)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
