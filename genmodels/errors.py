"""The two ways in which a command ends badly; a message is one sentence: what was got, expected, to do."""


class UserError(Exception):
    """The person's mistake (config, file, argument): exit status 2, one sentence, no traceback."""


class Fault(Exception):
    """What went wrong while running, such as a non-finite loss: exit status 1."""


class Stopped(BaseException):
    """A training that was asked to end by a signal, and did: exit status 128 + the signal's number."""

    def __init__(self, signal_number: int, sentence: str, *, together: bool):
        super().__init__(sentence)
        self.signal_number = signal_number
        self.together = together  # whether every process of the run ends at this same point, between two steps


class Pruned(BaseException):
    """A job of a sweep that was ended because others are better: not finished, and no failure; exit status 0."""
