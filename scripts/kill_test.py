"""Kills trainings at random moments and resumes them: what comes out must be, bit for bit, what comes out unkilled.

    python scripts/kill_test.py [--kills 45] [--seed 0] [--two 3]

Every family trains tiny models on the digits, once undisturbed, and once killed (SIGKILL, which nothing can catch)
again and again: as it gets ready, some steps later, or while it writes a file. After each kill the last checkpoint must
load, and be no older than one interval. Then a run on two processes has one of them killed, which must end the other.
Exit status 1 if anything differs. A few minutes on 2 cores.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from genmodels.config.compose import compose_config, resolved
from genmodels.engine.train import train
from genmodels.run.checkpoint import read_checkpoint

STEPS, EVERY = 24, 2  # of a run, and between checkpoints
FURTHEST = 5  # steps that a run may take before it is killed
WRITING = 0.4  # part of the kills that wait for a file to be written
FAMILIES = {
    "vae": ["model=vae", "model.encoder.width=8", "model.decoder.width=8"],
    "dcgan": ["model=dcgan", "model.generator.width=8", "model.discriminator.width=8"]
    + ["model.discriminator_steps=2", "trainer.accumulate_grad_batches=2"],
    "realnvp": ["model=realnvp", "model.bijections.realnvp.width=8", "model.bijections.realnvp.multipliers=[1,1]"],
    "ddpm": ["model=ddpm", "model.network.width=8", "trainer.precision=bf16-mixed"],
    "pixelcnn": ["model=pixelcnn", "model.network.width=8", "trainer.accumulate_grad_batches=2"],
}
SHARED = ["trainer=cpu", "logger=csv", "callbacks=default", "~callbacks.pictures", "~callbacks.progress"]
SHARED += ["evaluator=[likelihood]", "evaluator.likelihood.max_samples=20", "callbacks.evaluation.every_n_steps=6"]
SHARED += ["data.batch_size=128", "scheduler=cosine", "trainer.log_every_n_steps=1"]
SHARED += [f"trainer.max_steps={STEPS}", f"callbacks.checkpoint.every_n_train_steps={EVERY}"]
COMPARED = ("state_dict", "optimizer_states", "lr_schedulers", "batches", "global_step", "callbacks")


def config_of(family: str, run_dir: Path) -> dict:
    return resolved(compose_config("train", [*SHARED, *FAMILIES[family], "name=kill_test", f"run_dir={run_dir}"]))


def begin(config: dict) -> int:
    """Trains in a process of its own, which has imported everything already; its number."""
    child = os.fork()
    if child:
        return child
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    try:
        goes_on = Path(config["run_dir"], "config.yaml").exists()
        train({**config, "resume": config["run_dir"] if goes_on else None})
        os._exit(0)
    except BaseException as error:
        print(f"the training failed: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)


def ended(child: int) -> int | None:
    """Its status, negative for a signal; None while it runs."""
    number, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if number else None


def kill(child: int, run_dir: Path, at: int, delay: float, writing: bool) -> int | None:
    """Kills it `delay` seconds after it has reached step `at`, or once it is `writing` from then on.

    The status of one that was done before; None for one that was killed.
    """
    due = None
    while (status := ended(child)) is None:
        now = time.monotonic()
        if due is None and newest(run_dir) >= at:
            due = now + delay
        if due is not None and now >= due and (not writing or any(run_dir.rglob(".*.tmp"))):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.0002 if due is not None and writing else 0.002)
    return status


def wait(child: int) -> int:
    """Its status, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def step_of(run_dir: Path) -> int:
    """Of the last checkpoint, which must load; 0 where there is none yet."""
    file = run_dir / "checkpoints" / "last.ckpt"
    return read_checkpoint(file)["global_step"] if file.exists() else 0


def rows(run_dir: Path) -> list[dict]:
    """The curve, but for a last line that was cut off."""
    file = run_dir / "metrics.csv"
    text = file.read_text() if file.exists() else ""
    return list(csv.DictReader(text[: text.rfind("\n") + 1].splitlines()))


def newest(run_dir: Path) -> int:
    """The last step of the curve."""
    return max([0, *(int(row["step"]) for row in rows(run_dir)[-1:])])


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return isinstance(b, type(a)) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two finished runs."""
    left, right = (read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (one, other))
    found = [key for key in COMPARED if not same(left[key], right[key])]
    found += [] if rows(one) == rows(other) else ["metrics.csv"]
    found += [] if (one / "results.json").read_text() == (other / "results.json").read_text() else ["results.json"]
    return found + [f"{file.name} was left" for file in one.rglob(".*.tmp")]


def kill_family(family: str, kills: int, folder: Path, chance: random.Random) -> list[str]:
    """One line a kill, and one a finished run; what is wrong is returned."""
    whole = folder / family / "whole"
    if status := wait(begin(config_of(family, whole))):
        return [f"{family}: the undisturbed run ended with {status}"]
    done, writings = 0, 0
    while done < kills:
        run_dir, before = folder / family / f"cut_{done}", done
        while True:
            child, saved = begin(config_of(family, run_dir)), step_of(run_dir)
            if done == kills:
                status = wait(child)
            else:
                ahead = chance.randint(0, FURTHEST)
                delay = chance.uniform(0, 0.1 if ahead else 0.8)
                at = min(saved + ahead, STEPS - 1)
                status = kill(child, run_dir, at, delay, chance.random() < WRITING)
            if status is not None:
                break
            done += 1
            left, reached = step_of(run_dir), newest(run_dir)
            unfinished = [file.name.split(".")[1] for file in run_dir.rglob(".*.tmp")]
            writings += bool(unfinished)
            print(
                f"{family:9} kill {done:2}  at step {reached:2} + {delay:4.2f} s  last.ckpt {saved:2} -> {left:2}  "
                f"lost {max(0, reached - left)}  {'while it wrote ' + unfinished[0] if unfinished else ''}",
                flush=True,
            )
            if left < saved or reached - left > EVERY:
                return [f"{family}: more than one interval is lost: step {reached} was reached, {left} is left"]
        if status != 0:
            return [f"{family}: a resume ended with {status}"]
        found = differences(run_dir, whole)
        print(f"{family:9} finished, killed {done - before} times: {', '.join(found) or 'the same bits'}", flush=True)
        if found:
            return [f"{family}: {', '.join(found)} not the same"]
    print(f"{family:9} {done} kills, {writings} of them while it wrote a file", flush=True)
    return []


def kill_one_of_two(kills: int, folder: Path, chance: random.Random) -> list[str]:
    """A run on two processes, of which one or the other is killed."""
    whole, cut = folder / "two" / "whole", folder / "two" / "cut"
    script = [sys.executable, str(Path(__file__).with_name("train.py"))]
    new = [*SHARED, *FAMILIES["vae"], "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "name=kill_test"]
    new += [f"trainer.max_steps={4 * STEPS}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    wrong = []
    if status := subprocess.run([*script, *new, f"hydra.run.dir={whole}"], **quiet).returncode:
        return [f"two processes: the undisturbed run ended with {status}"]
    for number in range(kills + 1):
        words = [f"resume={cut}"] if (cut / "config.yaml").exists() else [*new, f"hydra.run.dir={cut}"]
        job = subprocess.Popen([*script, *words], **quiet)
        before = step_of(cut)
        if number == kills:
            wrong += [f"two processes: the last resume ended with {status}"] if (status := job.wait()) else []
            break
        at = before + chance.randint(1, 3 * STEPS // kills)
        while newest(cut) < at and job.poll() is None:
            time.sleep(0.01)
        if job.poll() is not None:
            return [f"two processes: the job ended with {job.returncode} before it was killed"]
        workers = children(job.pid)
        victim = chance.choice([job.pid, *workers])
        os.kill(victim, signal.SIGKILL)
        start = time.monotonic()
        while job.poll() is None or any(alive(worker) for worker in workers):
            if time.monotonic() > start + 60:
                wrong.append("two processes: it goes on 60 s after one of them was killed")
                for process in (job.pid, *workers):
                    os.kill(process, signal.SIGKILL)
                break
            time.sleep(0.05)
        who = "the first" if victim == job.pid else "a worker"
        print(
            f"two       kill {number + 1:2}  of {who}: the job ended with {job.wait()} after "
            f"{time.monotonic() - start:.1f} s  last.ckpt {before:2} -> {step_of(cut):2}",
            flush=True,
        )
    found = differences(cut, whole) if not wrong else []
    print(f"two       finished, killed {kills} times: {', '.join(found + wrong) or 'the same bits'}", flush=True)
    return wrong + [f"two processes: {what} differs" for what in found]


def children(process: int) -> list[int]:
    """The processes that this one, on Linux, has started to train."""
    numbers = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [
        int(number)
        for number in numbers
        if b"genmodels.processes.worker" in Path(f"/proc/{number}/cmdline").read_bytes()
    ]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=45, help="over the five families")
    parser.add_argument("--two", type=int, default=3, help="kills of one of two processes")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    chance, start, wrong = random.Random(chosen.seed), time.monotonic(), []
    folder = Path(tempfile.mkdtemp(prefix="kill_test_"))
    for i, family in enumerate(FAMILIES):
        share = chosen.kills * (i + 1) // len(FAMILIES) - chosen.kills * i // len(FAMILIES)
        wrong += kill_family(family, share, folder, chance)
    wrong += kill_one_of_two(chosen.two, folder, chance) if chosen.two else []
    print(
        f"{chosen.kills} + {chosen.two} kills in {time.monotonic() - start:.0f} s, seed {chosen.seed}: "
        f"{'; '.join(wrong) or 'nothing lost but the steps since the last checkpoint, and the same bits'}"
    )
    if wrong:
        print(f"the runs are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
