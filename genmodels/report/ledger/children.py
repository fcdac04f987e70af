"""Commands of genmodels as processes of their own: waited for until they end, or until the time is over.

A child writes to the terminal itself, so that its progress bar is seen there. It has a session of its own: Ctrl-C
reaches it from here alone, as the one signal upon which a training saves itself.
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
SENTENCE_FILE = "GENMODELS_SENTENCE"  # where a command writes the sentence that it ends badly with


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    status: int
    sentence: str  # empty where it said none
    out_of_time: bool  # it was asked to end, and had not come to its end


class Children:
    """Runs one child at a time, and hands on to it what asks this process to end."""

    def __init__(self) -> None:
        self.asked = 0  # the signal that came; 0: none has
        self.child: subprocess.Popen | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals for the duration of the block; elsewhere than in the main thread there are none to take."""
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
        """Raises Stopped where a signal has come."""
        if self.asked:
            number = signal.SIGINT if self.asked == signal.SIGINT else signal.SIGTERM
            raise Stopped(number, sentence, together=True)

    def run(self, words: Sequence[str], deadline: float) -> Ended:
        """Runs `genmodels WORDS` to its end; at the deadline, a time of time.monotonic(), it is asked to end."""
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
