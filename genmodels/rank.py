"""Which of a run's processes this one is, known before any process group exists."""

import os


def is_rank_zero() -> bool:
    """Whether this process is the one that writes."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))
