"""Kills a sweep at random moments and gives its command again: it must end as one that nobody killed.

    python scripts/sweep_kill_test.py [--kills 3] [--jobs 12] [--seed 0]

The jobs are short trainings of a small VAE on the digits, over seeds and learning rates, with offline runs of W&B. The
sweep is killed with SIGKILL, which nothing can catch, and its command is given again, word for word. In the end every
job must have come to its end exactly once, with the bits of the undisturbed sweep, and every job be one run in W&B.
Exit status 1 if anything differs. A few minutes on 2 cores.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kill_test import differences, newest

STEPS, EVERY = 60, 10  # of a job, and between its checkpoints
RATES = ("0.001", "0.003", "0.01")
SHARED = ["trainer=cpu", "data=digits", "model=vae", "model.encoder.width=8", "model.decoder.width=8", "name=kill_test"]
SHARED += ["logger=[csv,wandb]", "logger.wandb.mode=offline", "~callbacks.pictures", "~callbacks.progress"]
SHARED += ["evaluator=[likelihood]", "evaluator.likelihood.max_samples=20", "callbacks.evaluation.every_n_steps=20"]
SHARED += [f"trainer.max_steps={STEPS}", "trainer.log_every_n_steps=5"]
SHARED += [f"callbacks.checkpoint.every_n_train_steps={EVERY}"]


def command(sweep_dir: Path, jobs: int) -> list[str]:
    seeds = ",".join(map(str, range(-(-jobs // len(RATES)))))
    swept = [f"optimizer.lr={','.join(RATES[: min(jobs, len(RATES))])}", f"seed={seeds}"]
    script = str(Path(__file__).with_name("train.py"))
    return [sys.executable, script, "-m", *SHARED, *swept, f"hydra.sweep.dir={sweep_dir}"]


def begin(sweep_dir: Path, jobs: int) -> subprocess.Popen:
    sweep_dir.parent.mkdir(exist_ok=True)
    log = (sweep_dir.parent / f"{sweep_dir.name}.log").open("a")
    return subprocess.Popen(command(sweep_dir, jobs), stdout=log, stderr=log, cwd=sweep_dir.parent)


def job_dirs(sweep_dir: Path) -> list[Path]:
    return sorted(file.parent for file in sweep_dir.glob("*/job.json"))


def steps_of(sweep_dir: Path) -> int:
    """Steps that all jobs together have logged."""
    return sum(newest(job) for job in job_dirs(sweep_dir))


def events(job: Path) -> list[dict]:
    lines = (job / "history.jsonl").read_text().splitlines() if (job / "history.jsonl").exists() else []
    return [json.loads(line) for line in lines]


def ends(job: Path) -> int:
    """How often a job has come to its end."""
    return sum(event["event"] == "end" and event["status"] == 0 for event in events(job))


def kill(sweep_dir: Path, jobs: int, at: int, delay: float) -> str | None:
    """Starts the sweep and kills it `delay` seconds after its jobs have taken `at` steps; what is wrong, if it ends."""
    process = begin(sweep_dir, jobs)
    while process.poll() is None and steps_of(sweep_dir) < at:
        time.sleep(0.01)
    time.sleep(delay)
    if process.poll() is not None:
        return f"the sweep ended with {process.returncode} before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = sum(ends(job) for job in job_dirs(sweep_dir))
    print(f"killed at step {steps_of(sweep_dir):4} of {jobs * STEPS}, {done:2} jobs done", flush=True)
    return None


def compare(cut: Path, whole: Path) -> list[str]:
    """What is not as it should be in the sweep that was killed."""
    ours, theirs = job_dirs(cut), job_dirs(whole)
    if [job.name for job in ours] != [job.name for job in theirs]:
        return [f"the jobs are {[job.name for job in ours]}, expected {[job.name for job in theirs]}"]
    wrong = [f"{job.name} came to its end {ends(job)} times" for job in (*ours, *theirs) if ends(job) != 1]
    for one, other in zip(ours, theirs, strict=True):
        same = one / "job.json", other / "job.json"
        wrong += [f"{one.name}: job.json differs"] if same[0].read_text() != same[1].read_text() else []
        wrong += [f"{one.name}: {what} differs" for what in differences(one, other)]
    return wrong


def wandb_runs(sweep_dir: Path) -> set[str]:
    """The ids of W&B's runs of all jobs, those of a job that goes on in the same run once."""
    return {folder.name.rpartition("-")[2] for folder in sweep_dir.glob("*/wandb/offline-run-*")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    chance, start = random.Random(chosen.seed), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="sweep_kill_test_"))
    whole, cut, wrong = folder / "whole", folder / "cut", []
    if status := begin(whole, chosen.jobs).wait():
        print(f"the undisturbed sweep ended with {status}: see {whole}.log")
        return 1
    for at in sorted(chance.sample(range(1, chosen.jobs * STEPS), chosen.kills)):
        wrong += filter(None, [kill(cut, chosen.jobs, at, chance.uniform(0, 0.3))])
    status = begin(cut, chosen.jobs).wait()
    wrong += [f"the sweep ended with {status}"] if status else compare(cut, whole)
    starts = sum(event["event"] == "start" for job in job_dirs(cut) for event in events(job))
    runs = wandb_runs(cut)
    wrong += [] if len(runs) == chosen.jobs else [f"W&B has {len(runs)} runs"]
    print(
        f"{len(job_dirs(cut))} jobs, {chosen.kills} kills, {starts} starts, {len(runs)} runs in W&B, "
        f"{time.monotonic() - start:.0f} s, seed {chosen.seed}: {'; '.join(wrong) or 'each to its end once, same bits'}"
    )
    if wrong:
        print(f"the sweeps are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
