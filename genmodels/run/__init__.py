"""A run directory as one object: its layout, config, checkpoints, results, status, history, curves and export."""
