"""How a W&B run begins: online where that works, else offline; anew, or as the same run as the directory's last one.

The run's id lies in RUN_DIR/wandb/run_id.txt. W&B cannot go on with an offline run: the same id again is another
folder, and of several folders with one id that are synced each replaces what the one before had brought to the server.
So a second part begins the run anew under its id, and `replay` logs again what the first had logged.
"""

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from genmodels.disk.atomic import replacing
from genmodels.errors import UserError

ANSWER_SECONDS = 3.0  # for a connection to W&B's server to open
INIT_SECONDS = 30.0  # for a run to begin there
FINISH_SECONDS = 120.0  # for the last data to get there; what does not stays on disk

WandbMode = Literal["online", "offline", "disabled"]
MODES: dict[str, WandbMode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
YES, NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A run directory, and how the runs that were logged from it bear on the one that begins."""

    run_dir: Path
    replayable: bool  # whether what was logged before can be logged again

    @property
    def folder(self) -> Path:
        return self.run_dir / "wandb"

    def last_id(self) -> str | None:
        """Id of the run that was logged from here before, if there was one."""
        file = self.folder / "run_id.txt"
        return file.read_text().strip() or None if file.exists() else None

    def online(self, run_id: str) -> list[Path]:
        """The folders of the run's online parts."""
        return self._folders("run", run_id)

    def offline(self, run_id: str) -> list[Path]:
        """The folders of its offline parts."""
        return self._folders("offline-run", run_id)

    def unsynced(self, run_id: str) -> list[Path]:
        """Those of which the server has nothing."""
        return [folder for folder in self.offline(run_id) if not any(folder.glob("*.wandb.synced"))]

    def _folders(self, kind: str, run_id: str) -> list[Path]:
        """<kind>-<time>-<id>, or with a number behind it where two began in one second."""
        return [path for end in ("", "-[0-9]*") for path in self.folder.glob(f"{kind}-*-{run_id}{end}")]


def start(mode: str, place: Place, names: Mapping[str, Any]) -> Any:
    """A new run, or one that goes on."""
    import wandb

    wanted = wanted_mode(mode)
    wandb.setup(settings=wandb.Settings(silent=True, console="off"))  # prints nothing, never asks for a key
    reason = ""
    if wanted == "online":
        try:
            demand_connection()
            return init("online", place, names)
        except wandb.Error as error:
            reason = _said(error)
        if mode == "online":
            raise UserError(
                f"logger.wandb.mode is online, expected W&B to be within reach ({reason}); set it to auto or offline."
            )
        wanted = "offline"
    run = init(wanted, place, names)
    if wanted == "offline":
        print(notice(run, reason), file=sys.stderr, flush=True)
    return run


def wanted_mode(mode: str) -> WandbMode:
    """The mode asked for: by the config, or where that says auto by WANDB_DISABLED or WANDB_MODE, or online."""
    if mode != "auto":
        return MODES[mode]
    if _is_disabled(os.environ.get("WANDB_DISABLED", "false")):
        return "disabled"
    word = os.environ.get("WANDB_MODE", "online")
    if word not in MODES:
        raise UserError(f"WANDB_MODE is {word!r}, expected online, offline or disabled.")
    return MODES[word]


def _is_disabled(word: str) -> bool:
    if word.lower() not in (*YES, *NO):
        raise UserError(f"WANDB_DISABLED is {word!r}, expected true or false.")
    return word.lower() in YES


def require_accepted(project: str) -> None:
    """UserError where W&B refuses the project's name, or what the environment tells it."""
    import wandb

    try:
        settings = wandb.Settings(project=project)
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B refuses logger.wandb.project={project} ({_said(error)}); choose another name") from error
    try:
        settings.update_from_env_vars(dict(os.environ))
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B refuses an environment variable ({_said(error)}); correct or unset it") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def demand_connection() -> None:
    """Raises wandb.Error unless there are a key and a server that answers."""
    import wandb

    try:
        found = wandb.login(verify=False)
    except wandb.errors.UsageError:
        found = False
    if not found:
        raise wandb.Error("no API key: `wandb login` stores one")
    url = wandb.setup().settings.base_url
    if not answers(url, ANSWER_SECONDS):
        raise wandb.Error(f"{urlsplit(url).hostname} does not answer")


def answers(url: str, seconds: float) -> bool:
    """Whether a connection to the host of `url`, or to the proxy on the way there, opens in time."""
    there = urlsplit(url)
    proxy = None if proxy_bypass(there.netloc) else getproxies().get(there.scheme)
    target = urlsplit(proxy if proxy and "//" in proxy else f"//{proxy}") if proxy else there
    address = target.hostname, target.port or {"http": 80}.get(target.scheme, 443)
    opened = []

    def connect() -> None:
        with suppress(OSError), socket.create_connection(address, timeout=seconds):
            opened.append(True)

    thread = Thread(target=connect, daemon=True)  # looking the name up knows no timeout
    thread.start()
    thread.join(seconds)
    return bool(opened)


def init(mode: WandbMode, place: Place, names: Mapping[str, Any]) -> Any:
    """Begins a run and writes its id down; under the id of this directory's last run where it can be the same run."""
    import wandb

    place.folder.mkdir(parents=True, exist_ok=True)
    before = place.last_id()
    goes_on = before is not None and mode == "online" and is_at_the_server(place, before)
    same = goes_on or (before is not None and is_begun_anew(mode, place, before))
    run = wandb.init(
        **names,
        dir=str(place.run_dir),
        mode=mode,
        id=before if same else None,
        resume="allow" if goes_on else None,
        config={"resumed_from": before} if before and not same else None,
        reinit="finish_previous",
        settings=wandb.Settings(silent=True, console="off", init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS),
    )
    run.define_metric("images_seen")
    run.define_metric("*", step_metric="images_seen")
    if mode != "disabled":
        with replacing(place.folder / "run_id.txt") as file:
            file.write(f"{run.id}\n".encode())
    return run


def is_at_the_server(place: Place, run_id: str) -> bool:
    """Whether W&B's server has the run of this id up to its end."""
    return bool(place.online(run_id)) or bool(place.offline(run_id) and not place.unsynced(run_id))


def is_begun_anew(mode: WandbMode, place: Place, run_id: str) -> bool:
    """Whether the run of this id, or what was synced of it, can be replaced as a whole by one that begins now."""
    only_offline = bool(place.offline(run_id)) and not place.online(run_id)
    return mode != "disabled" and only_offline and place.replayable


def notice(run: Any, reason: str) -> str:
    """One line: why the run is offline, and whether it is a second part."""
    why = f" ({reason})" if reason else ""
    first = run.config.get("resumed_from")
    return f"W&B is offline{why}" + (f"; this is a run of its own that goes on from {first}" if first else "")
