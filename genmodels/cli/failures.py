"""What an exception means to the person: one sentence and an exit status."""

import errno

from genmodels.errors import Fault, UserError

USERS, FAULT, INTERRUPTED, TERMINATED = 2, 1, 130, 143


def explain(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit status for what a command raised, or for what that was raised from.

    Lightning turns Ctrl-C and SIGTERM into a SystemExit; Hydra wraps what a constructor raises.
    """
    chain = _chain(error)
    ours = [cause for cause in chain if isinstance(cause, UserError | Fault)]
    for cause in ours + chain:
        if found := _explain_one(cause):
            return found
    if isinstance(error, SystemExit):
        return "", error.code if isinstance(error.code, int) else int(error.code is not None)
    return f"{type(error).__name__}: {one_line(str(error))} (GENMODELS_DEBUG=1 shows where)", FAULT


def _explain_one(error: BaseException) -> tuple[str, int] | None:
    if isinstance(error, UserError):
        return str(error), USERS
    if isinstance(error, Fault):
        return str(error), FAULT
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; go on from the last checkpoint with resume=RUN_DIR", INTERRUPTED
    if type(error).__name__ == "SIGTERMException":  # Lightning's; not imported, for that takes seconds
        return "terminated; go on from the last checkpoint with resume=RUN_DIR", TERMINATED
    if type(error).__name__ == "MisconfigurationException":  # Lightning's
        return one_line(str(error)), USERS
    if type(error).__module__.split(".")[0] in ("hydra", "omegaconf"):
        return (one_line(str(error)), USERS) if type(error).__name__ != "InstantiationException" else None
    return _explain_os_error(error) if isinstance(error, OSError) else None


def _chain(error: BaseException | None) -> list[BaseException]:
    """The exception and what it was raised from."""
    links = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


def _explain_os_error(error: OSError) -> tuple[str, int]:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write or read {error.filename}; choose another place, e.g. hydra.run.dir=DIR", USERS
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return f"{error.filename} cannot be used ({error.strerror}); correct the path", USERS
    if error.errno == errno.ENOSPC:
        return (
            f"no space is left for {error.filename or 'the run'}; what was saved before is intact",
            FAULT,
        )
    return one_line(str(error)), FAULT


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())
