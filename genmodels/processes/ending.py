"""The end of a command, or of a job in a sweep: an exception becomes one sentence on stderr and an exit status."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from genmodels.failures import explain
from genmodels.processes.rendezvous import final_sentence


@dataclass
class Ending:
    """The exit status of a block."""

    status: int = 0


@contextmanager
def ending() -> Iterator[Ending]:
    """Turns an exception in the block into one sentence on stderr and an exit status."""
    end = Ending()
    try:
        yield end
    except BaseException as error:
        if os.environ.get("GENMODELS_DEBUG"):
            raise
        sentence, end.status = explain(error)
        if end.status and (said := final_sentence(sentence, end.status)):
            print(f"genmodels: {said}", file=sys.stderr)
            _leave(said)


def _leave(sentence: str) -> None:
    """Writes the sentence into the file that the ledger reads, if the ledger started this command."""
    if file := os.environ.get("GENMODELS_SENTENCE"):
        with suppress(OSError), open(file, "w", encoding="utf-8") as stream:
            stream.write(sentence)
