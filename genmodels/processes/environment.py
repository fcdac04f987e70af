"""Checks environment variables, and sets the encoding of the output, before a command starts."""

import codecs
import io
import os
import sys

from genmodels.errors import UserError

PREFIXES = ("GENMODELS_", "WANDB_", "XDG_", "SLURM_", "TORCHELASTIC_", "MASTER_")  # prefixes of variables that are read
RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")  # further variables that are read
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
    """Unsets empty variables, which have no meaning; UserError where a numeric variable is not a number."""
    for name, value in list(os.environ.items()):
        if not value.strip() and (name in RANKS or name.startswith(PREFIXES)):
            del os.environ[name]
    for name in NUMBERS:
        if not (value := os.environ.get(name, "0")).isdecimal():
            raise UserError(
                f"the environment variable {name} is {value!r}, expected a whole number; correct or unset it"
            )


def print_in_any_encoding() -> None:
    """Makes every text printable: characters outside the output's encoding are replaced by ASCII."""
    codecs.register_error("in_ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="in_ascii")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(each, ascii(each)[1:-1]) for each in text), error.end
