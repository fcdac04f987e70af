"""Two processes on one machine train one run: one directory, one curve, results over both."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FAMILIES = {
    "vae": ["model=vae", "model.encoder.width=8", "model.decoder.width=8"],
    "dcgan": [
        "model=dcgan",
        "model.generator.width=8",
        "model.discriminator.width=8",
        "model.discriminator_steps=2",
        "trainer.accumulate_grad_batches=2",
    ],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_two_processes_train_one_run(family, tmp_path):
    command = [sys.executable, str(Path(__file__).parents[1] / "scripts" / "train.py"), *FAMILIES[family]]
    command += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=3"]
    command += ["trainer.log_every_n_steps=1", "logger=csv", "callbacks=checkpoint", "evaluator=[likelihood,fid]"]
    command += ["evaluator.fid.n=203", "eval_batch_size=64", f"hydra.run.dir={tmp_path / 'run'}"]
    environment = {**os.environ, "GENMODELS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()].count("outputs") == 0
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3]
    seen = 128 * (2 if family == "dcgan" else 1)
    assert [int(row["images_seen"]) for row in rows] == [seen, 2 * seen, 3 * seen]
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    results = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    assert {record["protocol"]["world_size"] for record in results} == {2}
    assert {record["metric"] for record in results} >= {"fid_classifier_203"}
