"""Two processes that are cut and resumed are, bit for bit, the two that were not: every family, one signal."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from genmodels.engine.train import train
from genmodels.errors import Stopped
from genmodels.processes.rendezvous import STARTED_HERE
from tests.test_resume import BATCHES, FAMILIES, assert_same_run, config_of, curve, last, resumed

pytestmark = pytest.mark.slow

TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_steps=4"]


def one_of(world: int, rank: int) -> dict[str, str]:
    """What a process finds in its environment that is one of several of a run."""
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    return {STARTED_HERE: "1", "WORLD_SIZE": str(world), **ranks}


def in_process(rank: int, folder: str, families: list[str]) -> None:
    """Families, one after the other: whole, until rank 1 is asked to end in the second step, and the rest."""
    torch.set_num_threads(1)

    def train_here(config: dict) -> None:
        os.environ |= one_of(2, rank)  # of which Lightning takes a part out at the end of a training
        train(config)

    for family in families:
        whole, cut = Path(folder, family, "whole"), Path(folder, family, "cut")
        train_here(config_of(family, whole, *TWO))
        sent = f"number:{int(signal.SIGTERM)},after_batches:{BATCHES[family]},rank:1"
        with suppress(Stopped):  # which the first process raises
            train_here(config_of(family, cut, *TWO, f"+callbacks.cut={{_target_:tests.helpers.Signal,{sent}}}"))
        torch.distributed.barrier()
        assert last(cut)["global_step"] == 2
        torch.distributed.barrier()
        train_here(resumed(cut))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The folder where two processes have trained every family."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASTER_ADDR", "127.0.0.1")
        patch.setenv("MASTER_PORT", str(free_port()))
        torch.multiprocessing.start_processes(in_process, (str(folder), list(FAMILIES)), nprocs=2, start_method="spawn")
    return folder


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_resume_is_exact(trained, family):
    assert_same_run(trained / family / "cut", trained / family / "whole")
    assert [int(row["step"]) for row in curve(trained / family / "cut")] == [1, 2, 3, 4]
