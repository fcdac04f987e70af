"""How a command, or a job of a sweep, ends: what it raised becomes one sentence on stderr and an exit status."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from genmodels.failures import explain
from genmodels.processes.rendezvous import to_be_said


@dataclass
class Ending:
    """How something ends."""

    status: int = 0


@contextmanager
def ending() -> Iterator[Ending]:
    """What is raised in the block becomes one sentence on stderr and an exit status."""
    end = Ending()
    try:
        yield end
    except BaseException as error:
        if os.environ.get("GENMODELS_DEBUG"):
            raise
        sentence, end.status = explain(error)
        if end.status and (said := to_be_said(sentence, end.status)):
            print(f"genmodels: {said}", file=sys.stderr)
            _leave(said)


def _leave(sentence: str) -> None:
    """Writes the sentence where the ledger, if it started this command, looks for it."""
    if file := os.environ.get("GENMODELS_SENTENCE"):
        with suppress(OSError), open(file, "w", encoding="utf-8") as stream:
            stream.write(sentence)
