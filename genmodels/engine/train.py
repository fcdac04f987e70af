"""One training from its checked config: the steps, then the evaluation on the test split.

Writes a run directory (`genmodels.run.layout`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genmodels.console import console
from genmodels.engine.final_evaluation import evaluate_on_test
from genmodels.engine.launch import train_in_new_processes
from genmodels.engine.resume import Beginning, beginning, is_finished
from genmodels.engine.session import Session, new_session
from genmodels.errors import Stopped
from genmodels.failures import explain
from genmodels.processes.rendezvous import meeting_point, this_process
from genmodels.rank import is_rank_zero
from genmodels.run.history import History, history_of
from genmodels.run.stack import stack_kept_in
from genmodels.training.slurm import queue_again
from genmodels.training.stopping import SLURMS, Stopping


def train(config: dict[str, Any]) -> None:
    """Trains by a checked config: in this process, in new processes that it starts, or as one of a started group."""
    run_dir, (rank, world) = Path(config["run_dir"]), this_process()
    with stack_kept_in(run_dir, rank=rank, world=world):
        if train_in_new_processes(config):
            return
        if world > 1:
            meeting_point()  # waits here, where it can be interrupted, and not in Lightning
        stopping = Stopping(str(run_dir))
        with history_of(run_dir, writes=is_rank_zero()) as history, stopping.listening():
            begun = beginning(config)
            if is_finished(begun, config, history.last("end")):
                _say_finished(run_dir, begun)
            else:
                session = new_session(config, begun, history, stopping)
                with _recorded(session, history):
                    session.trainer.fit(session.training, ckpt_path=begun.checkpoint, weights_only=True)
                    evaluate_on_test(session)


def _say_finished(run_dir: Path, begun: Beginning) -> None:
    if is_rank_zero():
        done = f"{run_dir} is finished after {begun.step} steps; to continue it, set a larger trainer.max_steps=N"
        console.print(done, soft_wrap=True, highlight=False)


@contextmanager
def _recorded(session: Session, history: History) -> Iterator[None]:
    """Records the end of the training in the loggers and the history, whatever ends it. Where all processes stop at the
    same step, only rank zero raises Stopped."""
    trainer, status = session.trainer, 0
    try:
        for logger in session.loggers:
            logger.begin(session.begun.step, session.begun.images_seen, session.config["trainer"]["log_every_n_steps"])
        yield
    except BaseException as error:
        status = explain(error)[1]
        if trainer.is_global_zero and isinstance(error, Stopped) and error.signal_number == SLURMS:
            queue_again()
        if trainer.is_global_zero or not (isinstance(error, Stopped) and error.together):
            raise
    finally:
        history.add("end", step=trainer.global_step, images_seen=session.training.images_seen, status=status)
        for logger in session.loggers:
            logger.end(status)
