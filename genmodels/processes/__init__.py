"""A run on several processes, started by us, torchrun or srun: their ranks, their group, and how they end."""
