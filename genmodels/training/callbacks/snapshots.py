"""Snapshots of two weight averages, from which an average of any width can be reconstructed after the training.

Karras et al. 2024, https://arxiv.org/abs/2312.02696, section 3: the width of the average matters, and other widths can
be tried without another training (`genmodels.run.post_hoc`).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer
from safetensors.torch import save

from genmodels.disk.atomic import replacing
from genmodels.errors import UserError
from genmodels.ranges import PositiveInt, RelativeStd
from genmodels.run.post_hoc import SnapshotFacts
from genmodels.training.ema import EMA, Power
from genmodels.training.pace import Periodic
from genmodels.training.sharding import is_sharded


class Snapshots(Periodic):
    """Writes <step>_<relative std>.safetensors for each average, every n steps and at the last step."""

    def __init__(
        self,
        *,
        dirpath: str,  # where they are written
        every_n_steps: PositiveInt,  # steps between two snapshots
        relative_stds: Sequence[RelativeStd],  # widths of the averages, as fractions of the steps taken
    ):
        self.dirpath = Path(dirpath)
        self.every_n_steps = every_n_steps
        self.rules = {std: Power(relative_std=std) for std in relative_stds}
        self.kept: dict[str, Any] = {}  # state of each average in a resumed run

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Makes the averages; from now on the training updates them at each step."""
        if is_sharded(pl_module.model):
            raise UserError("callbacks.snapshots needs whole weights, and trainer=fsdp shards them; choose trainer=ddp")
        if trainer.global_step > 0 and not self.kept:
            raise UserError(
                "callbacks.snapshots must average from the first step, and this run began without it; leave it out"
            )
        self.averages = {std: EMA(pl_module.model, rule=rule) for std, rule in self.rules.items()}
        for std, ema in self.averages.items():
            if state := self.kept.get(str(std)):
                ema.load_state_dict(state)
        pl_module.averages += self.averages.values()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        due = step % self.every_n_steps == 0 or step == trainer.max_steps
        if due and trainer.is_global_zero:
            for std, ema in self.averages.items():
                self.write(std, ema, step, pl_module.images_seen, pl_module.model)

    def write(self, std: float, ema: EMA, step: int, images_seen: int, raw: Any) -> None:
        """Writes the whole averaged model; tensors that are not averaged come from the raw model."""
        weights = {name: w.detach().cpu().clone() for name, w in ema.follow(raw).state_dict().items()}
        averaged = [name for name, _ in ema.model.named_parameters() if name not in ema.raw]
        facts = SnapshotFacts(
            relative_std=std, updates=int(ema.updates), step=step, images_seen=images_seen, averaged=averaged
        )
        with replacing(self.dirpath / f"{step:09}_{std:g}.safetensors") as file:
            file.write(save(weights, {"facts": json.dumps(facts._asdict())}))

    def state_dict(self) -> dict[str, Any]:
        return {str(std): dict(ema.state_dict()) for std, ema in self.averages.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.kept = state_dict
