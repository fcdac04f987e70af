"""Putting a job of SLURM back into its queue, from within.

Lightning can do it, and saves a checkpoint of its own name before, beside the one that a resume looks for.
"""

import os
import subprocess
import sys


def queue_again() -> None:
    """Asks SLURM to start this job again, by the same command; says so where it does not."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"genmodels: SLURM does not queue job {job} again ({error})", file=sys.stderr)
