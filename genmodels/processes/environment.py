"""What a command finds around itself before it begins: environment variables, and the encoding of its output."""

import codecs
import io
import os
import sys

from genmodels.errors import UserError

OURS = ("GENMODELS_", "WANDB_", "XDG_", "SLURM_", "TORCHELASTIC_", "MASTER_")  # begin the names of what is read
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")  # are read, too
NUMBERS = (
    *RANKS,
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_RESTART_COUNT",
    "TORCHELASTIC_RESTART_COUNT",
)
IN_ASCII = {"±": "+-"}


def check_environment() -> None:
    """Takes empty variables out, which mean nothing; UserError where one that is a number is something else."""
    for name, value in list(os.environ.items()):
        if not value.strip() and (name in RANKS or name.startswith(OURS)):
            del os.environ[name]
    for name in NUMBERS:
        if not (value := os.environ.get(name, "0")).isdecimal():
            raise UserError(
                f"the environment variable {name} is {value!r}, expected a whole number; correct or unset it"
            )


def print_in_any_encoding() -> None:
    """Lets the process print every text: where its output cannot hold a character, in the letters of ASCII."""
    codecs.register_error("in_ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="in_ascii")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(each, ascii(each)[1:-1]) for each in text), error.end
