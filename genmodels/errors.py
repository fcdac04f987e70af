"""Exceptions that end a command; a message is one sentence: what was given, what was expected, what to do."""


class UserError(Exception):
    """A mistake of the user (config, file, argument): exit status 2, one sentence, no traceback."""


class Fault(Exception):
    """A failure at run time, such as a loss that is not finite: exit status 1."""


class Stopped(BaseException):
    """A training that ended because of a signal: exit status 128 + the signal's number."""

    def __init__(self, signal_number: int, sentence: str, *, together: bool):
        super().__init__(sentence)
        self.signal_number = signal_number
        self.together = together  # whether all processes of the run end at the same point, between two steps


class Pruned(BaseException):
    """A job of a sweep that ended early because others are better: unfinished, but no failure; exit status 0."""
