"""What an exception means to the person: one sentence and an exit status."""

import errno
import re
from difflib import get_close_matches

from genmodels.errors import Fault, UserError

USERS, FAULT, INTERRUPTED, TERMINATED = 2, 1, 130, 143


def explain(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit status for what a command raised."""
    for cause in _chain(error):  # Lightning turns Ctrl-C and SIGTERM into a SystemExit that is raised from them
        if isinstance(cause, UserError):
            return str(cause), USERS
        if isinstance(cause, Fault):
            return str(cause), FAULT
        if isinstance(cause, KeyboardInterrupt):
            return "interrupted; go on from the last checkpoint with resume=RUN_DIR", INTERRUPTED
        if type(cause).__name__ == "SIGTERMException":  # Lightning's; not imported, for that takes seconds
            return "terminated; go on with resume=RUN_DIR", TERMINATED
        if isinstance(cause, OSError):
            return _explain_os_error(cause)
    if isinstance(error, SystemExit):
        return str(error.code or ""), error.code if isinstance(error.code, int) else int(error.code is not None)
    if type(error).__name__ == "MisconfigurationException":  # Lightning's
        return _one_line(str(error)), USERS
    if type(error).__module__.split(".")[0] in ("hydra", "omegaconf"):
        return explain_composition(error), USERS
    return f"{type(error).__name__}: {_one_line(str(error))} (GENMODELS_DEBUG=1 shows where)", FAULT


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
    if error.errno == errno.ENOSPC:
        return (
            f"no space is left for {error.filename or 'the run'}; what was saved before is intact",
            FAULT,
        )
    return _one_line(str(error)), FAULT


def explain_composition(error: BaseException) -> str:
    """Hydra's and OmegaConf's complaints in one sentence, with the nearest right name where one is near."""
    missing, options = getattr(error, "missing_cfg_file", None), getattr(error, "options", None)
    if missing and options is not None:
        group, _, choice = str(missing).removesuffix(".yaml").rpartition("/")
        return f"there is no {group}={choice}; {nearest(choice, options)}"
    text = str(error)
    if found := re.search(r"Could not override '([^']+)'", text):
        return unknown_key(found.group(1))
    return _one_line(text)


def unknown_key(path: str) -> str:
    """The sentence for a key of the command line that the config does not have."""
    from genmodels.cli.compose import default_keys

    return f"there is no key {path} (set on the command line); {nearest(path, default_keys())}"


def nearest(name: str, choices: list[str]) -> str:
    """A hint: the choice most like `name`, or all of them where none is near."""
    near = get_close_matches(name, choices, 1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"choices are {', '.join(sorted(choices))}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
