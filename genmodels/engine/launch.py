"""Starts the processes of a training on several devices, unless torchrun or srun have started them.

Lightning's own launcher would run the command line again in each process, even a whole sweep, and when one process
dies it kills the others without a message.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from lightning_fabric.plugins import ClusterEnvironment
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import ParallelStrategy, StrategyRegistry

from genmodels.engine import build
from genmodels.errors import UserError
from genmodels.processes.rendezvous import STARTED_HERE, this_process
from genmodels.processes.workers import run_workers

WORK = "genmodels.engine.train:train"


def train_in_new_processes(config: Mapping[str, Any]) -> bool:
    """Trains in new processes if the config needs some, and returns whether it did; checks the config before.

    Raises:
        UserError, Fault, Stopped: as in the process that failed first.
    """
    trainer = build.trainer({**config, "logger": {}}, {})
    _require_world(trainer)
    _refuse_strays(trainer)
    strategy = trainer.strategy
    place = strategy.cluster_environment if isinstance(strategy, ParallelStrategy) else None
    if place is None or place.creates_processes_externally:
        return False
    _refuse_notebooks(config["trainer"]["strategy"])
    data = build.instance(config["data"])
    data.training_split()
    model = build.model(config, fresh=config["resume"] is None)
    build.evaluators_and_features(config, model, data)
    build.training(config, model, data, trainer)
    run_workers(WORK, config, list(_environments(trainer, place)))
    return True


def _require_world(trainer: Trainer) -> None:
    started, asked = this_process().world, trainer.world_size
    if started not in (1, asked):
        raise UserError(
            f"{started} processes were started, and the config needs {asked} (trainer.devices x trainer.num_nodes); "
            f"set trainer=ddp with trainer.devices, the number on each machine, and trainer.num_nodes"
        )


def _refuse_strays(trainer: Trainer) -> None:
    """UserError where environment variables make this process one of several, and no others were started."""
    if this_process().world > 1:
        return
    if trainer.num_nodes > 1 and "SLURM_JOB_ID" in os.environ:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes} in a SLURM job needs a process on each node, and srun has not "
            "started them; start it with srun"
        )
    alone = trainer.world_size == 1
    for name in ("LOCAL_RANK", "RANK", "NODE_RANK"):
        value = os.environ.get(name, "0")
        if (alone and value != "0") or (not alone and name == "LOCAL_RANK" and name in os.environ):
            raise UserError(
                f"{name}={value} is set, as in one of several processes, and neither torchrun nor srun has started "
                "any; unset it"
            )


def _refuse_notebooks(strategy: str | Mapping[str, Any]) -> None:
    """UserError for Lightning's strategies for notebooks, with which each process would start others again."""
    registered = dict(StrategyRegistry)
    named = strategy if isinstance(strategy, Mapping) else registered.get(strategy, {}).get("init_params", {})
    if (method := named.get("start_method", "popen")) != "popen":
        raise UserError(
            f"trainer.strategy starts its processes by {method}, as in a notebook; set trainer.strategy=ddp"
        )


def _environments(trainer: Trainer, place: ClusterEnvironment) -> Iterator[dict[str, str]]:
    """The environment variables by which each process of this machine finds the others."""
    shared = {STARTED_HERE: "1", "MASTER_ADDR": place.main_address, "MASTER_PORT": str(place.main_port)}
    shared |= {"NODE_RANK": str(place.node_rank()), "WORLD_SIZE": str(trainer.world_size)}
    for local in range(trainer.num_devices):
        rank = place.node_rank() * trainer.num_devices + local
        yield {**shared, "LOCAL_RANK": str(local), "RANK": str(rank)}
