"""One of several processes, started by `workers`: reads the config from stdin, which closes when the parent ends."""

import json
import os
import sys
import threading
from pkgutil import resolve_name

from genmodels.failures import FAULT, explain
from genmodels.processes.environment import print_in_any_encoding
from genmodels.processes.group import leave_group


def main() -> int:
    """Calls the function that the command line names, with the config; returns the exit status.

    A failure is reported as a line of JSON to the file descriptor that the command line names.
    """
    work, reports = resolve_name(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(reports, False)
    print_in_any_encoding()
    config = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(config)
        leave_group()
        return 0
    except BaseException as error:
        sentence, status = explain(error)
        report = {"rank": int(os.environ["RANK"]), "sentence": sentence, "status": status}
        os.write(reports, json.dumps(report).encode() + b"\n")
        if os.environ.get("GENMODELS_DEBUG"):
            raise
        return status


def _end_with_parent() -> None:
    """Ends this process when its parent has ended, even if that was killed."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(FAULT)


if __name__ == "__main__":
    sys.exit(main())
