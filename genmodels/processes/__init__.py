"""A run on several processes: started here, or by torchrun or srun; who they are, and what they agree on."""
