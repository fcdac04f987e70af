"""The commands from Python, in a script or a notebook: they take the overrides of the command line and give objects.

run = genmodels.train("experiment=digits_ddpm", "trainer.max_steps=600")
run.results                   # records, each with its protocol
run.curves["train/loss"]      # a column of a pandas DataFrame over the images seen
run = genmodels.evaluate(run, "evaluator=[fid,kid]")
x = genmodels.sample(run, "n=16", "sampler=ddim", "sampler.steps=20")
rows = genmodels.latent_direction(run, source=3, target=8, out="three_to_eight.png")  # where the model encodes
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from genmodels.config import checked
from genmodels.config.from_python import composed
from genmodels.config.paths import quoted, with_paths_quoted
from genmodels.config.resumed import find_resumed_config
from genmodels.errors import UserError
from genmodels.processes.spawn import run_on
from genmodels.run.run import Run


def train(*overrides: str, config_dir: str | PathLike[str] | None = None) -> Run:
    """Trains as `genmodels train overrides...` does, and shows the same progress.

    `config_dir` is a folder of your own configs, like `--config-dir`. `resume=RUN_DIR` continues a run.

    Raises:
        UserError: what is wrong with the overrides, in one sentence.
    """
    words = with_paths_quoted(list(overrides))
    own = find_resumed_config(words)
    with composed(own.stem if own else "train", words, config_dir) as cfg:
        config = checked.training_config(cfg)
    run_on("genmodels.engine.train:train", config)
    return Run(config["run_dir"])


def evaluate(run: str | PathLike[str], *overrides: str, config_dir: str | PathLike[str] | None = None) -> Run:
    """Measures a run's model as `genmodels evaluate run=... overrides...` does; the run with its new results.

    Raises:
        UserError: what is wrong with the run or the overrides, in one sentence.
    """
    with composed("evaluate", _of_run(run, overrides), config_dir) as cfg:
        config = checked.evaluation_config(cfg)
    run_on("genmodels.engine.evaluate:evaluate", config)
    return Run(run)


def sample(run: str | PathLike[str], *overrides: str, config_dir: str | PathLike[str] | None = None) -> Any:
    """Draws as `genmodels sample run=... overrides...` does: samples in data units on the CPU, a tensor or several by
    name. They are written only where `out=` says so.

    Raises:
        UserError: what is wrong with the run or the overrides, in one sentence.
    """
    with composed("sample", _of_run(run, overrides), config_dir) as cfg:
        config = checked.sampling_config(cfg)
    if config["devices"] > 1:
        raise UserError(f"devices={config['devices']} starts processes, which write a file: use the command line")
    from genmodels.engine.sample import draw, output_path, write_samples

    drawn = draw(config)
    if config["out"] is not None:
        write_samples(drawn, output_path(config["out"], drawn.kind))
    return drawn.x


def latent_direction(
    run: str | PathLike[str],
    *,
    source: int,
    target: int,
    alphas: Sequence[float] = (-0.5, 0.0, 0.5, 1.0, 1.5),
    n: int = 6,  # samples of the test split
    means_of: int = 1000,  # at most so many training samples of each label
    out: str | PathLike[str] | None = None,  # a .png
    trusted: Sequence[str] = (),  # further packages whose classes the run's config may build
) -> list[Any]:
    """Samples of the label `source` with alpha times the direction to `target` added to their codes, for each alpha.

    The direction is that between the mean codes of both labels. `out` shows the samples above what becomes of them.

    Raises:
        UserError: the model has no codes, or the data have no such label.
    """
    from genmodels.engine import latent_direction as engine

    labels = engine.Labels(source, target)
    return engine.latent_direction(Run(run), labels, alphas=alphas, n=n, means_of=means_of, out=out, trusted=trusted)


def _of_run(run: str | PathLike[str], overrides: Sequence[str]) -> list[str]:
    return [f"run={quoted(str(Run(run).path))}", *with_paths_quoted(list(overrides))]
