"""Which family a model is of, by the name of its class: for tables, tags and filters, never for what the code does."""

OURS = "genmodels.models."


def family_of(target: str) -> str:
    """The module of one of our models ("genmodels.models.vae.VAE" is "vae"); of anybody else's, the class's name."""
    module, _, name = target.rpartition(".")
    return module.removeprefix(OURS) if module.startswith(OURS) else name
