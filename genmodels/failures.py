"""Translates an exception into one sentence for the user and an exit status."""

import errno
import re
import signal

from genmodels.errors import Fault, Pruned, Stopped, UserError

DONE, USERS, FAULT, INTERRUPTED, UNREAD, TERMINATED = 0, 2, 1, 130, 141, 143
LOST = "another process of this run is gone; its own message gives the reason"
NO_HOME = "Could not determine home directory"  # of `Path.expanduser`
CONNECTION_LOST = ("Connection closed by peer", "Connection reset by peer", "NCCL")  # in messages of gloo and NCCL


def explain(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit status for an exception of a command, or for its cause.

    Lightning turns Ctrl-C into a SystemExit; Hydra wraps what a constructor raises.
    """
    if known := _known(error):
        return known
    where = "; ".join(getattr(error, "__notes__", ["GENMODELS_DEBUG=1 shows where"]))
    return f"{type(error).__name__}: {one_line(str(error))} ({one_line(where)})", FAULT


def is_explained(error: BaseException) -> bool:
    """Whether `explain` has a specific sentence for an exception."""
    return _known(error) is not None


def _known(error: BaseException) -> tuple[str, int] | None:
    """The sentence and the status for a known kind of exception; else None."""
    chain = chain_of(error)
    ours = [cause for cause in chain if isinstance(cause, UserError | Fault | Stopped | Pruned)]
    for cause in ours + chain:
        if found := _explain_one(cause):
            return found
    if refused := [cause for cause in chain if type(cause).__name__ == "InstantiationException"]:  # Hydra's
        return _refused_settings(refused[-1]), USERS
    if isinstance(error, SystemExit):
        return "", error.code if isinstance(error.code, int) else int(error.code is not None)
    return None


def _explain_one(error: BaseException) -> tuple[str, int] | None:
    if isinstance(error, UserError):
        return str(error), USERS
    if isinstance(error, Fault):
        return str(error), FAULT
    if isinstance(error, Stopped):
        return str(error), INTERRUPTED if error.signal_number == signal.SIGINT else TERMINATED
    if isinstance(error, Pruned):
        return str(error), DONE
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if type(error).__name__ == "MisconfigurationException":  # Lightning's
        return one_line(str(error)), USERS
    if type(error).__module__.split(".")[0] in ("hydra", "omegaconf"):
        return (one_line(str(error)), USERS) if type(error).__name__ != "InstantiationException" else None
    if type(error) is RuntimeError and str(error).startswith(NO_HOME):
        return "a path begins with ~ and the name of an unknown user; write the folder in full", USERS
    if type(error) is RuntimeError or type(error).__name__ in ("DistBackendError", "DistNetworkError"):  # torch's
        return (LOST, FAULT) if any(words in str(error) for words in CONNECTION_LOST) else None
    return _explain_os_error(error) if isinstance(error, OSError) else None


def _refused_settings(error: BaseException) -> str:
    """The sentence for a constructor that refuses the values of a config."""
    target = re.search(r"target '([^']+)'", str(error))
    name, cause = target.group(1) if target else "a part", error.__cause__ or error
    return f"{name} refuses its settings: {one_line(str(cause))}; correct them (GENMODELS_DEBUG=1 shows where)"


def chain_of(error: BaseException | None) -> list[BaseException]:
    """The exception and its chain of causes."""
    links = []
    while error is not None and error not in links:
        links.append(error)
        error = error.__cause__ or error.__context__
    return links


def _explain_os_error(error: OSError) -> tuple[str, int] | None:
    if error.errno == errno.EPIPE:  # the reader of the output, such as `head`, has ended
        return "", UNREAD
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write or read {error.filename}; choose another place, e.g. hydra.run.dir=DIR", USERS
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG):
        return f"{error.filename or 'this folder'} cannot be used ({error.strerror}); correct the path", USERS
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return (
            f"no space is left for {error.filename or 'the run'}; what was saved before is intact",
            FAULT,
        )
    return None


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())
