"""Processes that were started together: who they are, how they wait for each other, and who says what went wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import yaml
from lightning_fabric.plugins.environments import LightningEnvironment

from genmodels.engine import build
from genmodels.engine.launch import train_in_new_processes
from genmodels.errors import Fault, UserError
from genmodels.failures import FAULT, USERS
from genmodels.processes import group, workers
from genmodels.processes import rendezvous as module
from genmodels.processes.rendezvous import this_process
from genmodels.processes.spawn import _free_port
from tests.helpers import train_config

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "1",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "host",
    "MASTER_PORT": "29500",
}
ALLOCATION = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}
SRUN = ALLOCATION | {"SLURM_PROCID": "3", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8"}


@pytest.fixture
def placed(monkeypatch):
    """Sets the environment of one of several processes that have not met yet."""
    module._joining.cache_clear()
    yield lambda environment: [monkeypatch.setenv(name, value) for name, value in environment.items()]
    module._joining.cache_clear()


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, (0, 1)),
        (TORCHRUN, (1, 4)),
        (SRUN, (3, 8)),
        (SRUN | TORCHRUN, (1, 4)),
        (SRUN | {"SLURM_JOB_NAME": "bash"}, (0, 1)),
        (ALLOCATION, (0, 1)),
    ],
)
def test_who_was_started_together(environment, expected, placed):
    placed(environment)
    assert this_process() == expected


# Faults


def test_a_fault_is_said_with_its_rank_and_a_mistake_once(placed, monkeypatch):
    store = dist.HashStore()
    monkeypatch.setattr(module, "meeting_point", lambda: store)
    said = []
    for rank in range(2):
        placed(TORCHRUN | {"RANK": str(rank), "WORLD_SIZE": "2"})
        said += [[module.final_sentence("it broke", FAULT), module.final_sentence("no such file", USERS)]]
    assert said == [["rank 0: it broke", "no such file"], ["rank 1: it broke", ""]]


def test_a_fault_is_said_where_the_processes_do_not_meet(placed, monkeypatch):
    def meet():
        raise Fault("they do not meet")

    placed(TORCHRUN)
    monkeypatch.setattr(module, "meeting_point", meet)
    assert module.final_sentence("it broke", FAULT) == "it broke"


# Waiting


@pytest.mark.slow
def test_what_is_waited_for_is_said_and_then_that_nobody_came(placed, monkeypatch, capsys):
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    placed({module.STARTED_HERE: "1", "RANK": "0", "WORLD_SIZE": "2", **address})
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(module, "PATIENCE", module.timedelta(seconds=1))
    place = f"127.0.0.1:{address['MASTER_PORT']}"
    for _ in range(2):  # the second time at once
        with pytest.raises(Fault, match=f"the 2 processes of this run do not meet at {place} .*; start as many"):
            module.meeting_point()
    assert (
        f"rank 0 waits until all 2 processes of this run connect to {place}; on each other" in capsys.readouterr().err
    )


@pytest.mark.slow
def test_processes_that_do_not_meet_are_a_fault_of_no_config(placed, monkeypatch, genmodels, tmp_path):
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    placed({"TORCHELASTIC_RUN_ID": "x", **place})
    monkeypatch.setattr(module, "PATIENCE", module.timedelta(seconds=1))
    status, said = genmodels("train", "trainer=smoke")
    assert status == FAULT and "do not meet at 127.0.0.1" in said, said
    assert not list(tmp_path.iterdir())


TWO_MACHINES = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2", "logger=none"]
TRAIN = ["-c", "from genmodels.cli.main import main; main('train')", *TWO_MACHINES, "evaluator=[]"]
EVALUATE = ["-c", "from genmodels.cli.main import main; main('evaluate')", "evaluator=[likelihood]", "device=cpu"]


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_training_that_waits_for_another_machine_is_ended(tmp_path, number, status):
    said, returned, seconds = ended_while_waiting(tmp_path, TRAIN, number)
    assert returned == status and "waits until all 2 processes" in said and seconds < 20, said
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number, statuses", [(signal.SIGTERM, (143, -signal.SIGTERM)), (signal.SIGINT, (130,))])
def test_a_command_that_waits_for_another_process_is_ended(tmp_path, run_dir, number, statuses):
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    words = [*EVALUATE, f"run={run_dir}"]
    said, returned, seconds = ended_while_waiting(tmp_path, words, number, TORCHELASTIC_RUN_ID="x", **place)
    assert returned in statuses and seconds < 20, said


def ended_while_waiting(folder, words, number, **environment):
    """What a command said and returned, and how long it took to end, once it said that it waits and got a signal."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment}
    how = {"cwd": folder, "env": environment, "stderr": subprocess.PIPE, "text": True}
    how["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
    with subprocess.Popen([sys.executable, *words], **how) as process:
        try:
            lines = [process.stderr.readline()]
            while lines[-1] and "waits until" not in lines[-1]:
                lines.append(process.stderr.readline())
            sent = time.monotonic()
            process.send_signal(number)
            rest = process.communicate(timeout=30)[1]
            return "".join(lines) + rest, process.returncode, time.monotonic() - sent
        finally:
            process.kill()


def test_processes_that_do_not_answer_are_ended_at_the_second_interrupt(monkeypatch):
    monkeypatch.setattr(workers, "GRACE_SECONDS", 0.1)
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        assert workers._wait([sleeper], [signal.SIGINT] * 2) == {0: -signal.SIGINT}
        sleeper.kill()


# GPUs


@pytest.fixture
def gpus(monkeypatch):
    """A double of four GPUs and of the group: what is done with them, in order."""
    done = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(str(device)))
    monkeypatch.setattr(group, "meeting_point", lambda: done.append("met"))
    monkeypatch.setattr(dist, "init_process_group", done.append)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("left"))
    return done


@pytest.mark.parametrize("name", ["auto", "cuda"])
@pytest.mark.parametrize("environment", [TORCHRUN | {"LOCAL_RANK": "3"}, SRUN | {"SLURM_LOCALID": "3"}])
def test_each_process_takes_its_own_gpu_before_it_meets_the_others(environment, name, gpus, placed):
    placed(environment)
    with group.process_group(group.device_named(name)):
        gpus.append("work")
    assert gpus == ["cuda:3", "met", "nccl", "work", "left"]


def test_a_single_process_takes_the_gpu_that_is_named(gpus):
    with group.process_group(torch.device("cuda:2")):
        assert gpus == ["cuda:2"]


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_more_processes_than_gpus_are_refused(name, gpus, placed):
    placed(TORCHRUN | {"LOCAL_RANK": "4"})
    with pytest.raises(UserError, match="process 4 of this machine needs a GPU of its own, and there are 4"):
        group.device_named(name)


# SLURM


def test_in_an_allocation_without_srun_this_is_the_only_process(placed, tmp_path):
    placed(ALLOCATION)
    config = train_config(tmp_path, "trainer=smoke")
    trainer = build.trainer(config, {})
    assert trainer.world_size == 1 and not train_in_new_processes(config)
    two = build.trainer(train_config(tmp_path, "trainer=smoke", "trainer.devices=2", "trainer.strategy=ddp"), {})
    assert isinstance(two.strategy.cluster_environment, LightningEnvironment)


@pytest.mark.parametrize(
    ("strategy", "method"),
    [
        ("ddp_notebook", "fork"),
        ("ddp_spawn_find_unused_parameters_true", "spawn"),
        ("{_target_: pytorch_lightning.strategies.DDPStrategy, start_method: fork}", "fork"),
    ],
)
def test_strategies_that_start_processes_by_themselves_are_refused(strategy, method, tmp_path):
    config = train_config(tmp_path, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    config["trainer"]["strategy"] = yaml.safe_load(strategy)
    with pytest.raises(UserError, match=f"trainer.strategy starts its processes by {method}.*=ddp"):
        train_in_new_processes(config)


def test_several_nodes_without_srun_are_refused(placed, tmp_path):
    placed(ALLOCATION)
    with pytest.raises(UserError, match="trainer.num_nodes=2 in a SLURM job .*; start it with srun"):
        train_in_new_processes(train_config(tmp_path, "trainer=smoke", "trainer.num_nodes=2"))
