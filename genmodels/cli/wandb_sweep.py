"""genmodels wandb-sweep: a search space as the YAML that `wandb sweep` takes, so that W&B's agents run its jobs."""

import shlex
from pathlib import Path

import yaml

from genmodels.config.paths import with_paths_quoted
from genmodels.errors import UserError

HELP = """genmodels wandb-sweep: writes a search space as the YAML that W&B's sweep agent takes

usage: genmodels wandb-sweep [sweep=NAME] [group=option] [key=values] ... [out=FILE]
  genmodels wandb-sweep sweep=random experiment=digits_vae out=sweep.yaml
  genmodels wandb-sweep experiment=digits_vae 'optimizer.lr=tag(log,interval(1e-4,1e-2))' hydra.sweeper.search=tpe

Then:
  wandb sweep sweep.yaml                # creates the sweep in W&B and prints its id
  wandb agent ENTITY/PROJECT/ID         # fetches jobs from W&B and runs them; on as many machines as you like

The overrides are those of genmodels train -m. W&B proposes the jobs: by grid, at random, or by its bayes for tpe.
Metric and mode are hydra.sweeper.metric and mode, by default those of the first evaluator, on the validation split.
Without out=FILE the YAML is printed."""


def run(argv: list[str]) -> int:
    """Writes the YAML into the file `out=` names, or prints it."""
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    from genmodels.sweeps.wandb_agent import sweep_of

    out = next((word.removeprefix("out=") for word in argv if word.startswith("out=")), None)
    if out == "":
        raise UserError("out= names no file; give out=FILE")
    words = [word for word in argv if not word.startswith("out=") and word not in ("-m", "--multirun")]
    text = yaml.safe_dump(sweep_of(with_paths_quoted(words)), sort_keys=False, width=120)
    if out is None:
        print(text, end="")
        return 0
    _write(Path(out).expanduser(), text)
    print(f"written to {out}; next:\n  wandb sweep {shlex.quote(out)}\n  wandb agent ID   # the id that it prints")
    return 0


def _write(file: Path, text: str) -> None:
    from genmodels.disk.atomic import replacing

    with replacing(file) as out:
        out.write(text.encode())
