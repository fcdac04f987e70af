"""Starts a W&B run: online if that works, else offline; as a new run, or as a continuation of the directory's last run.

The run's id is in RUN_DIR/wandb/run_id.txt. W&B cannot continue an offline run: using its id again makes another
folder, and when several folders with one id are synced, each replaces the data of the one before on the server. So a
second part starts the run again under its id, and `replay` logs again what the first part had logged.
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
INIT_SECONDS = 30.0  # for a run to start there
FINISH_SECONDS = 120.0  # for the last data to arrive there; the rest stays on disk

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
class WandbFolders:
    """The W&B folders in a run directory, and whether its earlier logs can be logged again."""

    run_dir: Path
    replayable: bool  # whether the earlier logs can be logged again

    @property
    def folder(self) -> Path:
        return self.run_dir / "wandb"

    def last_id(self) -> str | None:
        """Id of the last run that was logged from here, if any."""
        file = self.folder / "run_id.txt"
        return file.read_text().strip() or None if file.exists() else None

    def online(self, run_id: str) -> list[Path]:
        """The folders of the run's online parts."""
        return self._folders("run", run_id)

    def offline(self, run_id: str) -> list[Path]:
        """The folders of the run's offline parts."""
        return self._folders("offline-run", run_id)

    def unsynced(self, run_id: str) -> list[Path]:
        """The folders of offline parts that were never synced."""
        return [folder for folder in self.offline(run_id) if not any(folder.glob("*.wandb.synced"))]

    def _folders(self, kind: str, run_id: str) -> list[Path]:
        """Folders <kind>-<time>-<id>, with a number at the end if two started in one second."""
        return [path for end in ("", "-[0-9]*") for path in self.folder.glob(f"{kind}-*-{run_id}{end}")]


def start(mode: str, place: WandbFolders, names: Mapping[str, Any]) -> Any:
    """Starts a new run, or continues the last one."""
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
                f"logger.wandb.mode is online, but W&B cannot be reached ({reason}); set it to auto or offline."
            )
        wanted = "offline"
    run = init(wanted, place, names)
    if wanted == "offline":
        print(notice(run, reason), file=sys.stderr, flush=True)
    return run


def wanted_mode(mode: str) -> WandbMode:
    """The mode of the config; if that is auto, the mode of WANDB_DISABLED or WANDB_MODE, by default online."""
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
    """UserError where W&B refuses the project's name or an environment variable."""
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
    """Raises wandb.Error without an API key, or if the server does not answer."""
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
    """Whether a connection to the host of `url`, or to its proxy, opens in time."""
    there = urlsplit(url)
    proxy = None if proxy_bypass(there.netloc) else getproxies().get(there.scheme)
    target = urlsplit(proxy if proxy and "//" in proxy else f"//{proxy}") if proxy else there
    address = target.hostname, target.port or {"http": 80}.get(target.scheme, 443)
    opened = []

    def connect() -> None:
        with suppress(OSError), socket.create_connection(address, timeout=seconds):
            opened.append(True)

    thread = Thread(target=connect, daemon=True)  # resolving the name has no timeout
    thread.start()
    thread.join(seconds)
    return bool(opened)


def init(mode: WandbMode, place: WandbFolders, names: Mapping[str, Any]) -> Any:
    """Starts a run and saves its id; it gets the id of this directory's last run if it can continue or replace it."""
    import wandb

    place.folder.mkdir(parents=True, exist_ok=True)
    before = place.last_id()
    continues = before is not None and mode == "online" and is_at_the_server(place, before)
    same = continues or (before is not None and is_begun_anew(mode, place, before))
    run = wandb.init(
        **names,
        dir=str(place.run_dir),
        mode=mode,
        id=before if same else None,
        resume="allow" if continues else None,
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


def is_at_the_server(place: WandbFolders, run_id: str) -> bool:
    """Whether W&B's server has the complete run of this id."""
    return bool(place.online(run_id)) or bool(place.offline(run_id) and not place.unsynced(run_id))


def is_begun_anew(mode: WandbMode, place: WandbFolders, run_id: str) -> bool:
    """Whether a run that starts now can replace the whole run of this id, even if parts of it were synced."""
    only_offline = bool(place.offline(run_id)) and not place.online(run_id)
    return mode != "disabled" and only_offline and place.replayable


def notice(run: Any, reason: str) -> str:
    """One line: why the run is offline, and which run it continues."""
    why = f" ({reason})" if reason else ""
    first = run.config.get("resumed_from")
    return f"W&B is offline{why}" + (f"; this is a run of its own that continues {first}" if first else "")
