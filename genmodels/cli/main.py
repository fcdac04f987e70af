"""Runs a command and exits with its status: 0 done, 2 the user's mistake, 1 a fault, 130, 141 and 143 by a signal.

Nothing heavy is imported here, so that `--help` answers at once.
"""

import os
import sys
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

from genmodels.errors import UserError
from genmodels.processes.ending import ending
from genmodels.processes.environment import check_environment, print_in_any_encoding

COMMANDS = {
    "train": "trains a model on a dataset and evaluates it",
    "check": "checks that a model, such as your own, does what its class line promises",
    "evaluate": "measures a run's model, or any images: likelihood, FID, KID, Inception Score",
    "sample": "draws samples from a run's model into a picture, an .npz or a folder",
    "export": "writes a run's model as model.safetensors and config.yaml",
    "report": "compares many runs: a page, tables, figures",
    "reproduce": "runs the published baselines and writes the page that compares our results with the papers'",
    "wandb-sweep": "writes a search space as the YAML that W&B's sweep agent takes",
    "benchmark": "compares the speed of pieces of work with the simplest code that does the same",
    "list": "shows every dataset, model, experiment, evaluator and sampler",
}

COMPOSED = ("train", "check", "evaluate", "sample", "export")  # whose words Hydra composes a config from

USAGE = """genmodels: config-driven experiments with deep generative models

usage: genmodels COMMAND [key=value ...]

{commands}

genmodels COMMAND --help shows a command's groups and keys. A first run: genmodels train experiment=digits_ddpm
Tab completion in bash: eval "$(genmodels train -sc install=bash)"\
"""


def main(command: str | None = None, argv: list[str] | None = None) -> None:
    """Runs a command, by default with the process's arguments, and exits; a script names its command."""
    argv = sys.argv[1:] if argv is None else argv
    print_in_any_encoding()
    with ending() as end:
        module = _module_of(command or _command_of(argv))
        check_environment()
        end.status = module.run(argv)
    sys.exit(end.status)


def _command_of(argv: list[str]) -> str:
    """Removes and returns the first word, the command."""
    _answer_completion_of_commands(argv)
    return argv.pop(0) if argv else "--help"


def _module_of(command: str) -> ModuleType:
    """The module that runs a command. UserError for an unknown command; SystemExit after printing help or version."""
    if command in ("-h", "--help", "help"):
        print(USAGE.format(commands="\n".join(f"  {name:13}{text}" for name, text in COMMANDS.items())))
        sys.exit(0)
    if command == "--version":
        from importlib.metadata import version

        print(version("genmodels"))
        sys.exit(0)
    if command not in COMMANDS:
        near = get_close_matches(command, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"commands are {', '.join(COMMANDS)}"
        raise UserError(f"there is no command {command!r}; {hint}")
    return import_module(f"genmodels.cli.{command.replace('-', '_')}")


def _answer_completion_of_commands(argv: list[str]) -> None:
    """Completes the command's name in the shell; for the other words, removes the name from the line for Hydra."""
    if "-sc" not in argv or "COMP_LINE" not in os.environ:
        return
    words = os.environ["COMP_LINE"].split(" ")
    if len(words) <= 2:
        print("\n".join(name for name in COMMANDS if name.startswith(words[-1])))
        sys.exit(0)
    if words[1] not in COMPOSED:
        sys.exit(0)  # its words are files, which the shell completes
    argv.insert(0, words[1])
    os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
