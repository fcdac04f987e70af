"""Weights & Biases that never stands in the way: online where that works, else offline in one line of notice.

The run's id lies in RUN_DIR/wandb/run_id.txt, so that a resumed run goes on in the same one. An offline
run cannot be gone on with; its second part is a run of its own, whose config has `resumed_from`.
"""

import os
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from genmodels.disk.atomic import replacing
from genmodels.errors import UserError

ANSWER_SECONDS = 3.0  # for a connection to W&B's server to open
INIT_SECONDS = 30.0  # for a run to begin there
FINISH_SECONDS = 120.0  # for the last data to get there; what does not stays on disk

Mode = Literal["online", "offline", "disabled"]
MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


class WandbRun(WandbLogger):
    """Lightning's logger of a W&B run that begins when it is first used, on rank zero; x axis `images_seen`."""

    def __init__(
        self,
        *,
        project: str,
        name: str | None,  # None: W&B makes one up
        group: str | None,  # such as the sweep that the run belongs to
        tags: Sequence[str],
        dir: str,  # the run's directory: files go to its wandb/
        mode: Literal["auto", "online", "offline", "disabled"],  # auto: WANDB_MODE, or online where that works
    ):
        super().__init__(project=project, name=name, save_dir=dir, group=group, tags=list(tags))
        wanted_mode(mode)  # what it refuses is refused now
        self.mode = mode
        self.lost = False  # whether W&B's own process is gone

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run.

        Raises:
            UserError: online was asked for and does not work; WANDB_MODE is no mode.
        """
        if self._experiment is None:
            names = {key: self._wandb_init[key] for key in ("project", "name", "group", "tags")}
            self._experiment = start(self.mode, Path(self._wandb_init["dir"]), names)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers and media beside their `images_seen`. Training goes on without W&B where W&B fails."""
        import wandb

        if self.lost:
            return
        try:
            super().log_metrics(metrics, step)
        except (wandb.Error, OSError) as error:
            self.lost = True
            print(f"W&B takes no more metrics ({error}); training goes on without it.", file=sys.stderr, flush=True)


def start(mode: str, directory: Path, names: dict[str, Any]) -> Any:
    """A new run, or an online one that goes on."""
    import wandb

    wanted = wanted_mode(mode)
    wandb.setup(settings=wandb.Settings(silent=True, console="off"))  # prints nothing, never asks for a key
    reason = ""
    if wanted == "online":
        try:
            demand_connection()
            return init("online", directory, names)
        except wandb.Error as error:
            reason = " ".join(str(error).split()).rstrip(".")
        if mode == "online":
            raise UserError(
                f"logger.wandb.mode is online, expected W&B to be within reach ({reason}); set it to auto or offline."
            )
        wanted = "offline"
    run = init(wanted, directory, names)
    if wanted == "offline":
        print(notice(run, reason), file=sys.stderr, flush=True)
    return run


def wanted_mode(mode: str) -> Mode:
    """The mode asked for: by the config, or where that says auto by WANDB_MODE, or online."""
    word = os.environ.get("WANDB_MODE", "online") if mode == "auto" else mode
    if word not in MODES:
        raise UserError(f"WANDB_MODE is {word!r}, expected online, offline or disabled.")
    return MODES[word]


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


def init(mode: Mode, directory: Path, names: dict[str, Any]) -> Any:
    """Begins a run and writes its id down, or goes on with the online run of this directory."""
    import wandb

    place = directory / "wandb"
    place.mkdir(parents=True, exist_ok=True)
    before = last_id(place)
    goes_on = mode == "online" and before is not None and any(place.glob(f"run-*-{before}"))
    run = wandb.init(
        **names,
        dir=str(directory),
        mode=mode,
        id=before if goes_on else None,
        resume="allow" if goes_on else None,
        config={"resumed_from": before} if before and not goes_on else None,
        reinit="finish_previous",
        settings=wandb.Settings(silent=True, console="off", init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS),
    )
    run.define_metric("images_seen")
    run.define_metric("*", step_metric="images_seen")
    if mode != "disabled":
        write_id(place, run.id)
    return run


def last_id(place: Path) -> str | None:
    """Id of the run that was logged from here before, if there was one."""
    file = place / "run_id.txt"
    return file.read_text().strip() or None if file.exists() else None


def write_id(place: Path, run_id: str) -> None:
    with replacing(place / "run_id.txt") as file:
        file.write(f"{run_id}\n".encode())


def notice(run: Any, reason: str) -> str:
    """One line: why the run is offline, whether it is a second part, and the command that uploads it."""
    why = f" ({reason})" if reason else ""
    first = run.config.get("resumed_from")
    part = f", a run of its own that goes on from {first}" if first else ""
    files = shlex.quote(os.path.abspath(Path(run.dir).parent))
    return f"W&B is offline{why}{part}; to upload it: wandb sync {files}"


def finish(exit_code: int) -> None:
    """Ends the W&B run of this process, if there is one, so that the next job begins its own.

    An `exit_code` other than 0 marks the run as failed. Never raises: what could not be uploaded stays on disk.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is None:
        return
    try:
        wandb.finish(exit_code=exit_code)
    except (wandb.Error, OSError) as error:
        print(f"W&B did not end in order ({error}); its files are kept.", file=sys.stderr)
