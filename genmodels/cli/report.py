"""genmodels report: compares many runs, as tables on the terminal and as files."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from genmodels.errors import UserError

USAGE = """genmodels report: compares many runs

usage: genmodels report RUNS... [key=value ...]
  genmodels report outputs                                  # every run below a folder
  genmodels report outputs/sweeps/2026-11-20_10-00-00 metric=test/nll_nats
  genmodels report RUN_DIR RUN_DIR out=comparison

RUNS are run directories, sweep directories, or any folders that contain such directories. Prints the runs, best first,
with mean and spread over seeds, and writes into the folder `out`:

  report.html   one page that opens without a network: sortable tables with the protocol of every number, curves,
                samples side by side, quality against diversity against speed, likelihood against quality, quality
                against sampling steps
  report.md     a table for a paper's appendix, with protocols as footnotes
  report.csv    one row for each result

keys:
  out=DIR       folder of the files; default: outputs/report/<date>_<time>
  metric=NAME   metric to sort the runs by, such as test/nll_nats; default: the first result that they share"""

KEYS = ("out", "metric")


def run(argv: list[str]) -> int:
    """Shows the runs that the words name, and writes the files."""
    if {"-h", "--help"} & set(argv):
        print(USAGE)
        return 0
    paths, keys = paths_and_keys(argv)
    report(paths, out=keys.get("out"), metric=keys.get("metric"))
    return 0


def paths_and_keys(argv: list[str]) -> tuple[list[Path], dict[str, str]]:
    """Paths, and keys with their values; a word that exists as a file or folder is a path, even with "=" in it."""
    paths, keys = [], {}
    for word in argv:
        key, equals, text = word.partition("=")
        if equals and key in KEYS:
            keys[key] = _given(key, text)
        elif (equals or word.startswith("-")) and not Path(word).expanduser().exists():
            raise UserError(_no_key(key))
        else:
            paths.append(Path(word))
    if not paths:
        raise UserError(
            "no run is given; give run directories, or a folder that contains some: genmodels report outputs"
        )
    return paths, keys


def _given(key: str, text: str) -> str:
    if not text:
        raise UserError(f"{key}= is empty; give it a value, or leave it out")
    return text


def _no_key(key: str) -> str:
    near = get_close_matches(key.lstrip("-"), KEYS, 1)
    hint = f"did you mean {near[0]}=?" if near else f"keys are {', '.join(f'{key}=' for key in KEYS)}"
    return f"there is neither a key {key} nor a file of that name; {hint}"


def report(paths: list[Path], *, out: str | None, metric: str | None) -> None:
    """Shows the tables of the runs below these folders, and writes the page, the Markdown and the CSV."""
    from genmodels.console import console, show_paths
    from genmodels.report.contents import contents
    from genmodels.report.files import write_files
    from genmodels.report.gather import gather
    from genmodels.report.tables import show

    folder = _folder(out)
    found = gather(paths, _track("reading runs"))
    if not found.runs:
        _refuse_nothing(paths, found.skipped)
    metric = _known(metric, found.runs)
    show(found.runs, metric, console)
    made = contents(found, metric, _track("reading curves and pictures"))
    files = write_files(made, folder)
    for skipped in made.skipped:
        console.print(f"skipped   {skipped.path}: {skipped.reason}", soft_wrap=True, highlight=False, markup=False)
    show_paths(files)


def _folder(out: str | None) -> Path:
    """The folder of the report's files. UserError where it cannot be a folder."""
    from datetime import datetime

    folder = Path("outputs", "report", f"{datetime.now():%Y-%m-%d_%H-%M-%S}") if out is None else Path(out).expanduser()
    in_the_way = next((place for place in (folder, *folder.parents) if place.is_file()), None)
    if in_the_way:
        raise UserError(f"out={folder} cannot be a folder, since {in_the_way} is a file; give another")
    return folder


def _refuse_nothing(paths: list[Path], skipped: list[Any]) -> None:
    about = f" ({skipped[0].path} {skipped[0].reason})" if len(skipped) == 1 else ""
    about = (
        f" ({len(skipped)} skipped, the first: {skipped[0].path} {skipped[0].reason})" if len(skipped) > 1 else about
    )
    places = ", ".join(map(str, paths))
    raise UserError(f"no run was found in {places}{about}; give folders that genmodels train wrote")


def _known(metric: str | None, runs: list[Any]) -> str | None:
    """The full name of the metric. UserError where no run has it."""
    from genmodels.report.metrics import in_order

    names = in_order(record.key for run in runs for record in run.results)
    if metric is None or metric in names:
        return metric
    if ends := [name for name in names if name.partition("/")[2] == metric]:
        return ends[0]
    near = get_close_matches(metric, [*names, *(name.partition("/")[2] for name in names)], 1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"results are {', '.join(names) or 'none'}"
    raise UserError(f"no run has a result metric={metric}; {hint}")


def _track(what: str) -> Any:
    """Shows the progress of a loop on a terminal."""
    from rich.progress import track

    from genmodels.console import console

    return lambda things: track(things, what, console=console, transient=True, disable=not console.is_terminal)
