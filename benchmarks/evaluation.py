"""A complete FID evaluation, beside sampling and feature extraction alone."""

from functools import partial
from typing import Any

import torch

from benchmarks.pair import Pair, Piece
from benchmarks.training import config_of
from genmodels.data.base import Data
from genmodels.engine import build
from genmodels.evaluators.evaluate import evaluate_model
from genmodels.evaluators.features.base import Features
from genmodels.units import to_pixels

SAMPLES = 10_000


def evaluation(device: torch.device) -> Pair:
    """FID of samples of an untrained VAE in the features of a classifier."""
    config = config_of("model=vae", "evaluator=[fid]", f"evaluator.fid.n={SAMPLES}")
    model, data = build.model(config, fresh=True).eval().to(device), build.instance(config["data"])
    features, batch = build.instance(config["features"]), config["eval_batch_size"]
    how: dict[str, Any] = {"data": data, "split": "test", "features": features, "seed": 0, "weights": "raw"}
    evaluators = build.instances(config["evaluator"])
    ours = partial(evaluate_model, model, evaluators, batch_size=batch, device=device, **how)
    return Pair(SAMPLES, partial(samples_and_features, model, data, features, batch, device), lambda: ours)


def samples_and_features(model: Any, data: Data, features: Features, batch: int, device: torch.device) -> Piece:
    features.prepare(data, device)

    @torch.no_grad()
    def work() -> None:
        for _ in range(SAMPLES // batch):
            features(to_pixels(model.sample(batch), data.levels))

    return work
