"""The two ways in which a command ends badly; a message is one sentence: what was got, expected, to do."""


class UserError(Exception):
    """The person's mistake (config, file, argument): exit status 2, one sentence, no traceback."""


class Fault(Exception):
    """What went wrong while running, such as a non-finite loss: exit status 1."""
