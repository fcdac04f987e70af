"""Keys and values that classes of other packages accept, where their signatures do not say."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from genmodels.ranges import NonNegativeFloat, PositiveInt, ProbabilityBelowOne

OPTIMIZER = {
    "lr": NonNegativeFloat,
    "betas": Sequence[ProbabilityBelowOne],
    "eps": NonNegativeFloat,
    "alpha": ProbabilityBelowOne,
    "momentum": NonNegativeFloat,
    "weight_decay": NonNegativeFloat,
    "fused": bool,
}
TRAINER = {  # keys that a user may set; the others are set by the run, or have no effect on it
    "accelerator": str,
    "devices": list[int] | str | int,
    "num_nodes": PositiveInt,
    "strategy": str | Mapping[str, Any],
    "precision": Literal["32-true", "bf16-mixed", "16-mixed"],
    "max_steps": PositiveInt,
    "log_every_n_steps": PositiveInt,
    "accumulate_grad_batches": PositiveInt,
    "gradient_clip_val": NonNegativeFloat | None,
    "gradient_clip_algorithm": Literal["norm", "value"],
    "deterministic": bool | Literal["warn"] | None,
    "benchmark": bool | None,
    "detect_anomaly": bool,
    "sync_batchnorm": bool,
    "profiler": str | None,
}
INSTEAD = {
    "max_epochs": "trainer.max_steps=N is the length of a run",
    "max_time": "trainer.max_steps=N is the length of a run",
    "logger": "choose loggers by logger=[...]",
    "callbacks": "choose callbacks by callbacks=[...]",
    "enable_checkpointing": "callbacks.checkpoint.every_n_train_steps=N says how often last.ckpt is written",
    "default_root_dir": "hydra.run.dir=DIR is the directory of a run",
    "enable_progress_bar": "callbacks=none makes a run without a progress bar",
}


def types_of(function: Any) -> Mapping[str, Any]:
    """Types of parameters of another package's class or function, more precise than its signature's."""
    if function.__module__.startswith("torch.optim."):
        return OPTIMIZER
    return TRAINER if is_trainer(function) else {}


def is_trainer(function: Any) -> bool:
    """Whether it is Lightning's Trainer, which takes only the keys of `TRAINER` here."""
    return f"{function.__module__}.{function.__name__}" == "pytorch_lightning.trainer.trainer.Trainer"
