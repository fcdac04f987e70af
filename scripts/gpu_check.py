"""python scripts/gpu_check.py [--accelerator gpu|cpu] [--out FILE.json]: trains, resumes and evaluates each family.

Each runs on the digits with small networks, in each precision, compiled and with channels_last: a
resumed run must equal the uninterrupted one (to rounding on a GPU, whose sums have no fixed order), and the run must be
evaluated. It ends with a table and, with --out, a JSON file.
"""

import json
import sys
import time
import warnings
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import genmodels
from genmodels.run.checkpoint import read_checkpoint

STEPS, CUT = 8, 5  # of a training, and where the resumed one was cut
ROUNDING = {"32-true": 1e-3, "bf16-mixed": 3e-2, "16-mixed": 3e-2}  # of weights, relative to their size, on a GPU
FAMILIES = {
    "vae": ["model=vae", "model.encoder.width=8", "model.decoder.width=8"],
    "dcgan": ["model=dcgan", "model.generator.width=8", "model.discriminator.width=8"],
    "realnvp": ["model=realnvp", "model.bijections.realnvp.width=8", "trainer.gradient_clip_val=100"],
    "glow": ["model=glow", "model.bijections.glow.couplings=2", "trainer.gradient_clip_val=100"],
    "nice": ["model=nice", "model.bijections.nice.widths=[64,64]"],
    "tarflow": ["model=tarflow", "model.bijections.tarflow.width=32", "model.bijections.tarflow.layers=1"],
    "flowpp": ["model=flowpp", "model.bijections.flowpp.width=16", "trainer.gradient_clip_val=100"],
    "ddpm": ["model=ddpm", "model.network.width=16", "sampler.steps=4"],
    "edm": ["model=edm", "model.network.width=16", "sampler.steps=4"],
    "pixelcnn": ["model=pixelcnn", "model.network.width=16"],
    "transformer": ["model=transformer", "model.network.width=32", "model.network.layers=2"],
}
VARIANTS = {"compile": ["compile=true"], "channels_last": ["channels_last=true"]}  # of one family
QUIET = [
    "scheduler=constant",
    "logger=[csv]",
    "callbacks=[checkpoint]",
    "callbacks.checkpoint.every_n_train_steps=100",
    "seed=1",
]


def cases(accelerator: str) -> Iterator[tuple[str, str, list[str]]]:
    """Family, precision and overrides of each check; on the CPU in float32 only, since many have no other."""
    for precision in ROUNDING if accelerator == "gpu" else ["32-true"]:
        for name, overrides in FAMILIES.items():
            yield name, precision, overrides
    for name, more in VARIANTS.items():
        yield f"ddpm, {name}", "32-true", [*FAMILIES["ddpm"], *more]


def checked(folder: Path, accelerator: str, precision: str, overrides: list[str]) -> dict[str, Any]:
    """Trains once through and once in two parts, and evaluates; what was found."""
    machine = [f"trainer.accelerator={accelerator}", "trainer.devices=1", f"trainer.precision={precision}"]
    words = [*overrides, *QUIET, *machine, "evaluator=[]"]
    whole, cut = folder / "whole", folder / "cut"
    genmodels.train(*words, f"trainer.max_steps={STEPS}", f"hydra.run.dir={whole}")
    genmodels.train(*words, f"trainer.max_steps={CUT}", f"hydra.run.dir={cut}")
    genmodels.train(f"resume={cut}", f"trainer.max_steps={STEPS}")
    difference = largest_difference(*(weights(run) for run in (whole, cut)))
    allowed = 0.0 if accelerator == "cpu" else ROUNDING[precision]
    run = genmodels.evaluate(whole, "evaluator=speed", "evaluator.speed.n=16", "batch_size=16")
    return {"difference": difference, "ok": difference <= allowed and len(run.results) > 0}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of two states, each tensor's relative to its size."""
    found = [(one[name].double() - other[name].double()).norm() / (one[name].double().norm() + 1e-3) for name in one]
    return max(float(each) for each in found)


def main() -> int:
    parser = ArgumentParser(description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--accelerator", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--out", type=Path, help="where the results are written as JSON")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    results = []
    for name, precision, overrides in cases(arguments.accelerator):
        start = time.perf_counter()
        with TemporaryDirectory() as folder:
            try:
                found = checked(Path(folder), arguments.accelerator, precision, overrides)
            except Exception as error:  # one case that fails must not hide the others
                found = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        results.append({"model": name, "precision": precision, "seconds": time.perf_counter() - start, **found})
    show(results)
    if arguments.out:
        arguments.out.write_text(json.dumps({"torch": torch.__version__, "results": results}, indent=1))
    return 0 if all(result["ok"] for result in results) else 1


def show(results: list[dict[str, Any]]) -> None:
    table = Table("model", "precision", "resumed differs by", "seconds", "")
    for result in results:
        said = "ok" if result["ok"] else result.get("error", "differs")
        difference = f"{result['difference']:.1e}" if "difference" in result else ""
        table.add_row(result["model"], result["precision"], difference, f"{result['seconds']:.1f}", said)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
