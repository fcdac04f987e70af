"""python scripts/families_picture.py OUT.png RUN...: samples of several runs side by side, as README shows them."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

import genmodels
from genmodels.families import family_of
from genmodels.pictures import grid
from genmodels.run.checkpoint import checkpoint_path, read_checkpoint
from genmodels.seeds import ByNumber

ROWS, COLUMNS = 6, 4


def main(out: Path, runs: list[Path]) -> None:
    """Writes the picture: the first samples of each run, by the same numbers as those that were measured."""
    figure, axes = plt.subplots(1, len(runs), figsize=(2.2 * len(runs), 3.6), dpi=110)
    for axis, run in zip(axes, runs, strict=True):
        config = read_checkpoint(checkpoint_path(run))["config"]
        n = ROWS * COLUMNS
        x = genmodels.load(run).sample(n, rng=ByNumber(config["seed"], 0, n))
        axis.imshow(grid(x, config["data"]["levels"], columns=COLUMNS, scale=4), cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{family_of(config['model']['_target_'])}", fontsize=10)
        axis.axis("off")
    figure.tight_layout(pad=0.4)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, bbox_inches="tight")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(run) for run in sys.argv[2:]])
