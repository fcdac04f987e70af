"""A run directory: config.yaml, checkpoints/ and results.json."""
