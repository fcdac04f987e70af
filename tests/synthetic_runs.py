"""Run directories as a training leaves them, written without training, for tests of what reads many."""

import io
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

BEGAN = datetime(2026, 11, 20, 10, tzinfo=UTC)
TARGETS = {
    "vae": "genmodels.models.vae.VAE",
    "flow": "genmodels.models.flow.Flow",
    "autoregressive": "genmodels.models.autoregressive.Autoregressive",
    "diffusion": "genmodels.models.diffusion.Diffusion",
    "gan": "genmodels.models.gan.GAN",
}
OVER_SAMPLES = {"n_generated": 1000, "reference": "digits/train", "n_reference": 1297, "features": "classifier"}


def config(family: str = "vae", seed: int = 0, dataset: str = "digits", **changes: Any) -> dict[str, Any]:
    """What stands in config.yaml, as far as a report looks; `changes` are top-level keys."""
    return {
        "name": f"{dataset}_{family}",
        "seed": seed,
        "run_dir": "somewhere",
        "data": {"_target_": "genmodels.data.digits.Digits", "name": dataset, "batch_size": 100, "root": None},
        "model": {"_target_": TARGETS[family], "width": 32},
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.001},
        "trainer": {"_target_": "pytorch_lightning.Trainer", "max_steps": 200},
        "logger": {"csv": {"path": "somewhere/metrics.csv"}},
        "callbacks": {"checkpoint": {"dirpath": "somewhere/checkpoints"}},
        "baseline": None,
        **changes,
    }


HIGHER = ("density", "coverage", "samples_per_second")  # how the names of metrics begin of which more is better


def record(
    metric: str, value: float, *, std: float | None = None, split: str = "test", mode: Any = ..., **protocol: Any
) -> dict:
    mode = ("max" if metric.startswith(HIGHER) else "min") if mode is ... else mode
    protocol = {"weights": "ema", "seed": 0, "dtype": "float32", "world_size": 1, "step": 200, **protocol}
    return {"metric": metric, "split": split, "value": value, "std": std, "protocol": protocol, "mode": mode}


def results(quality: float) -> list[dict[str, Any]]:
    """A likelihood and metrics over samples, the better the lower `quality`."""
    return [
        record("bits_per_dim", 2 + quality / 10, reference="digits/test", n_reference=300, bound="elbo", draws=1),
        record("nll_nats", 88 + 4 * quality, reference="digits/test", n_reference=300, bound="elbo", draws=1),
        record("fid_classifier_1k", 5 + quality, **OVER_SAMPLES),
        record("density_classifier_1k", 1 / (1 + quality), k=5, **OVER_SAMPLES),
        record("coverage_classifier_1k", 1 / (1.5 + quality), k=5, **OVER_SAMPLES),
        record("samples_per_second", 100 * (1 + quality), device="cpu", batch=100, n_generated=1000),
    ]


def start(step: int = 0, seconds: float = 0, **facts: Any) -> dict[str, Any]:
    about = {"world_size": 1, "hardware": "2 x Some CPU (2 threads)", "commit": "0123456789ab", "changed": {}}
    return {"event": "start", "time": (BEGAN + timedelta(seconds=seconds)).isoformat(), "step": step, **about, **facts}


def end(step: int = 200, seconds: float = 60, status: int = 0, **facts: Any) -> dict[str, Any]:
    when = (BEGAN + timedelta(seconds=seconds)).isoformat()
    return {"event": "end", "time": when, "step": step, "images_seen": 100 * step, "status": status, **facts}


@cache
def noise(side: int) -> bytes:
    """A PNG file, of a picture that can hardly be made smaller."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (side, side), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


@cache
def curves(rows: int) -> str:
    """metrics.csv with `rows` rows up to 200 steps of 100 images; the validation is in every tenth."""
    lines = ["images_seen,step,train/loss,val/nll_nats"]
    for i in range(1, rows + 1):
        step = round(200 * i / rows)
        held_out = 90 + 30 * np.exp(-step / 50) if i % 10 == 0 else ""
        lines.append(f"{100 * step},{step},{80 + 40 * np.exp(-step / 50)},{held_out}")
    return "\n".join(lines) + "\n"


def write_results(folder: Path, records: list[dict[str, Any]], version: Any = 1) -> None:
    (folder / "results.json").write_text(json.dumps({"version": version, "results": records}))


def write_run(
    folder: Path,
    settings: dict[str, Any],
    records: list[dict[str, Any]] | None = None,
    *,
    history: list[dict[str, Any]] | None = None,
    rows: int = 20,
    picture: int | None = None,  # pixels of its side
    **files: str,
) -> Path:
    """A run directory; `files` are further ones by their names, "_txt" for ".txt"."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.dump(settings, Dumper=yaml.CSafeDumper))
    history = [start(), end()] if history is None else history
    (folder / "history.jsonl").write_text("".join(json.dumps(event) + "\n" for event in history))
    if rows:
        (folder / "metrics.csv").write_text(curves(rows))
    if records is not None:
        write_results(folder, records)
    if picture:
        (folder / "samples").mkdir()
        (folder / "samples" / "last.png").write_bytes(noise(picture))
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder
