"""The processes of a training on several devices: started here, where torchrun or srun have not started them.

Lightning's own launcher would run the command line again in each process, a sweep too, and ends a run whose process
has died by killing the rest without a word.
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


def trains_elsewhere(config: Mapping[str, Any]) -> bool:
    """Whether this config's processes had to be started and have trained; what is wrong with it is found before.

    Raises:
        UserError, Fault, Stopped: as the process that failed first.
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
            f"{started} processes were started, and the config asks for {asked} (trainer.devices x trainer.num_nodes); "
            f"set trainer=ddp with trainer.devices, the number on each machine, and trainer.num_nodes"
        )


def _refuse_strays(trainer: Trainer) -> None:
    """UserError where the environment makes this process one of several, and there are no others."""
    if this_process().world > 1:
        return
    if trainer.num_nodes > 1 and "SLURM_JOB_ID" in os.environ:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes} in a job of SLURM needs a process on each node, and srun has not "
            "started them; start it with srun"
        )
    alone = trainer.world_size == 1
    for name in ("LOCAL_RANK", "RANK", "NODE_RANK"):
        value = os.environ.get(name, "0")
        if (alone and value != "0") or (not alone and name == "LOCAL_RANK" and name in os.environ):
            raise UserError(
                f"{name}={value} is set, as for one of several processes, and no torchrun or srun has started any; "
                "unset it"
            )


def _refuse_notebooks(strategy: str | Mapping[str, Any]) -> None:
    """UserError where each process would start others once more, by Lightning's ways for notebooks."""
    registered = dict(StrategyRegistry)
    named = strategy if isinstance(strategy, Mapping) else registered.get(strategy, {}).get("init_params", {})
    if (method := named.get("start_method", "popen")) != "popen":
        raise UserError(
            f"trainer.strategy would start its processes by {method}, as in a notebook; set trainer.strategy=ddp"
        )


def _environments(trainer: Trainer, place: ClusterEnvironment) -> Iterator[dict[str, str]]:
    """What each process of this machine needs to find the others."""
    shared = {STARTED_HERE: "1", "MASTER_ADDR": place.main_address, "MASTER_PORT": str(place.main_port)}
    shared |= {"NODE_RANK": str(place.node_rank()), "WORLD_SIZE": str(trainer.world_size)}
    for local in range(trainer.num_devices):
        rank = place.node_rank() * trainer.num_devices + local
        yield {**shared, "LOCAL_RANK": str(local), "RANK": str(rank)}
