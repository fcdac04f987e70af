"""Requeues the running SLURM job.

Lightning can do so too, but first saves a checkpoint under a name that a resume does not look for.
"""

import os
import subprocess
import sys


def queue_again() -> None:
    """Asks SLURM to start this job again with the same command; prints a message where SLURM refuses."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"genmodels: SLURM does not requeue job {job} ({error})", file=sys.stderr)
