"""The commands as functions of a checked config: train, evaluate, score, sample, export."""
