"""Names of the files and folders in a run directory."""

CONFIG = "config.yaml"  # all settings of the training
HISTORY = "history.jsonl"  # a line for each start and end of the training
CURVES = "metrics.csv"  # a row for each logged step
RESULTS = "results.json"  # records, each with its protocol
CHECKPOINTS = "checkpoints"  # last.ckpt and best.ckpt
SAMPLES = "samples"  # pictures
SNAPSHOTS = "snapshots"  # averages of the weights, for `genmodels.run.post_hoc`
NEWEST_GRID = f"{SAMPLES}/last.png"
STACK = "error.log"  # traceback of an unexpected error that ended a training
JOB = "job.json"  # in a sweep's job: what it runs
FAILED = "error.txt"  # in a sweep's job: why it failed, one sentence
PRUNED = "pruned.txt"  # in a sweep's job: why it was pruned, one sentence
FOLDERS = (CHECKPOINTS, SAMPLES, SNAPSHOTS, "tensorboard")  # folders that contain no runs
