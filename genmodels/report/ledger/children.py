"""Runs commands of genmodels as child processes, until they end or the time is over.

A child writes to the terminal itself, so its progress bar is visible. It has its own session, so Ctrl-C reaches it only
through this process, as one signal, on which a training saves itself.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from genmodels.errors import Stopped

GENMODELS = (sys.executable, "-P", "-c", "from genmodels.cli import main; main()")
SENTENCE_FILE = "GENMODELS_SENTENCE"  # environment variable: the file for the sentence of a command that fails


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    status: int
    sentence: str  # of a failure; empty where there is none
    out_of_time: bool  # whether it was ended at the deadline


class Children:
    """Runs one child at a time, and forwards the signals that end this process."""

    def __init__(self) -> None:
        self.asked = 0  # the received signal; 0: none
        self.child: subprocess.Popen | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the signals in the block; does nothing outside the main thread, which gets no signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._take) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.asked = self.asked or number
        if self.child is not None:
            self.child.send_signal(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    def stop_if_asked(self, sentence: str) -> None:
        """Raises Stopped where a signal was received."""
        if self.asked:
            number = signal.SIGINT if self.asked == signal.SIGINT else signal.SIGTERM
            raise Stopped(number, sentence, together=True)

    def run(self, words: Sequence[str], deadline: float) -> Ended:
        """Runs `genmodels WORDS`; ends it at the deadline, a time of time.monotonic(), by SIGTERM."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "sentence.txt"
            environment = {**os.environ, SENTENCE_FILE: str(file)}
            how: dict = {"stdin": subprocess.DEVNULL, "start_new_session": True, "env": environment}
            self.child = child = subprocess.Popen([*GENMODELS, *words], **how)
            late = False
            try:
                child.wait(None if deadline == float("inf") else max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                child.terminate()
                late = True
            status, self.child = child.wait(), None
            sentence = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        return Ended(status, sentence, late and status != 0)
