"""genmodels check: holds a model, your own above all, to the contract of what its class line says that it can do."""

from genmodels.cli.app import MULTIRUN, run_app
from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError

USAGE = """genmodels check: holds a model to the contract, with a line for each thing that is ok or failed

usage: genmodels check model=NAME [data=NAME] [group=option] [key=value] ... [--config-dir DIR]
  genmodels check model=realnvp data=digits
  PYTHONPATH=. genmodels check model=pixels --config-dir myconfigs     # a model of your own

Shapes and types, finite losses, gradients, samples by their seeds, log_prob and the sum of probabilities, two steps of
a training and its resume, an export: whatever follows from the model's class line. It takes random samples that have
the facts of the data, on the CPU; no data are read, and nothing is kept. The groups and keys are those of genmodels
train. The exit status is 2 if anything failed.\
"""


def run(argv: list[str]) -> int:
    """Checks the model that the words of a training name."""
    if {"-h", "--help"} & set(argv):
        print(USAGE)
        return 0
    if {*MULTIRUN} & set(argv):
        raise UserError("check takes one model at a time; leave -m out")
    words = [*argv, "hydra.run.dir=."]
    return run_app(
        "check", words, check="contract_config", work="genmodels.engine.check:check", config=CONFIGS / "train.yaml"
    )
