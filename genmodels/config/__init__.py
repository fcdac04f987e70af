"""A command's config: composed by Hydra, explained where that fails, and checked before anything runs."""
