"""genmodels check: checks that a model, such as the user's own, does what its class line promises."""

from genmodels.cli.app import MULTIRUN, run_app
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError

USAGE = """genmodels check: checks that a model does what its class line promises, with a line for each check

usage: genmodels check model=NAME [data=NAME] [group=option] [key=value] ... [--config-dir DIR]
  genmodels check model=realnvp data=digits
  PYTHONPATH=. genmodels check model=pixels --config-dir myconfigs     # a model of your own

Checks shapes and types, finite losses, gradients, samples by their seeds, log_prob and the sum of probabilities, two
steps of a training and their resume, and an export: whatever follows from the model's class line. It uses random
samples with the shape and levels of the data, on the CPU; no data are read, and nothing is kept. The groups and keys
are those of genmodels train. The exit status is 2 if anything failed.\
"""


def run(argv: list[str]) -> int:
    """Checks the model that the overrides of a training name."""
    if {"-h", "--help"} & set(argv):
        print(USAGE)
        return 0
    if {*MULTIRUN} & set(argv):
        raise UserError("check takes one model at a time; leave -m out")
    words = [*argv, "hydra.run.dir=."]
    return run_app(
        "check", words, check="contract_config", work="genmodels.engine.check:check", config=CONFIGS / "train.yaml"
    )
