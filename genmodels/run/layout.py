"""What lies where in a run directory."""

CONFIG = "config.yaml"  # everything that the run was trained with
HISTORY = "history.jsonl"  # a line for each time that the training began or ended
CURVES = "metrics.csv"  # a row for each step that was logged
RESULTS = "results.json"  # records, each with its protocol
CHECKPOINTS = "checkpoints"  # last.ckpt and best.ckpt
SAMPLES = "samples"  # pictures
SNAPSHOTS = "snapshots"  # averages of the weights, for `genmodels.run.post_hoc`
NEWEST_GRID = f"{SAMPLES}/last.png"
STACK = "error.log"  # of what a training ended with that is nobody's mistake
JOB = "job.json"  # of a sweep's job: what it runs
FAILED = "error.txt"  # of a sweep's job: the sentence that says why it failed
PRUNED = "pruned.txt"  # of a sweep's job: the sentence that says why it was pruned
FOLDERS = (CHECKPOINTS, SAMPLES, SNAPSHOTS, "tensorboard")  # in which no runs lie
