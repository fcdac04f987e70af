"""The progress of a run: whole on a terminal, short elsewhere, and nothing left behind."""

import io
import re
import sys

import pytest
import pytorch_lightning as pl
import torch

from genmodels.training.callbacks.progress import Progress, Rate, clock, say
from tests.test_pictures import Toy, train

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Takes the place of stderr (in the test itself: pytest changes stderr after the fixtures)."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    return stream


class Slow(pl.Callback):
    """Something besides training that the bar has to name."""

    def on_train_batch_end(self, trainer, *_):
        say(trainer, "evaluating")


class Broken(pl.Callback):
    def on_train_batch_end(self, *_):
        raise RuntimeError("broken")


class Stop(pl.Callback):
    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == 3


def toy(loss: float | None = 0.123456) -> Toy:
    module = Toy()
    module.last_loss = loss
    return module


def test_lines_at_every_tenth_where_there_is_no_terminal(capsys):
    train(toy(), 20, Progress())
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if line.startswith("Everything on toy")]
    assert [re.search(r"step (\d+)/20", line)[1] for line in lines] == [str(step) for step in range(2, 21, 2)]
    assert re.fullmatch(
        r"Everything on toy: step 2/20, [\d.]+ images/s, loss 0.1235, 0:00:0\d elapsed, \d:\d\d:\d\d left", lines[0]
    )
    assert "left" not in lines[-1]


def test_a_run_shorter_than_ten_steps_and_one_that_stops_early_end_with_a_line(capsys):
    train(toy(None), 3, Progress())
    assert re.findall(r"step (\d+)/3", capsys.readouterr().err) == ["1", "2", "3"]
    train(toy(None), 20, Progress(), Stop())
    assert re.findall(r"step (\d+)/20", capsys.readouterr().err) == ["2", "3"]


def test_a_resumed_run_counts_from_where_it_was(tmp_path, capsys):
    def fit(steps: int, **resume):
        trainer = pl.Trainer(
            accelerator="cpu",
            max_steps=steps,
            callbacks=[Progress()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(toy(), **resume)
        return trainer

    fit(10).save_checkpoint(tmp_path / "last.ckpt")
    capsys.readouterr()
    fit(20, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    steps = re.findall(r"step (\d+)/20", capsys.readouterr().err)
    assert steps == ["12", "14", "16", "18", "20"]


def test_bar_on_a_terminal(monkeypatch):
    terminal = make_terminal(monkeypatch)
    train(toy(), 20, Progress(), Slow())
    text = terminal.getvalue()
    assert "Everything on toy" in text and "evaluating" in text and "20/20" in text
    assert "loss 0.1235" in text and "step 20" not in text
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)


def test_terminal_is_given_back_after_an_exception(monkeypatch):
    terminal = make_terminal(monkeypatch)
    with pytest.raises(RuntimeError, match="broken"):
        train(toy(), 20, Progress(), Broken())
    text = terminal.getvalue()
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    assert sys.stderr is terminal


def test_rate_is_that_of_the_last_seconds():
    rate = Rate()
    rate.mark(0, now=0.0)
    rate.mark(0, now=0.0)
    assert rate() is None, "no time has passed"
    for second in range(1, 31):  # 100 images/s at first, then 10
        rate.mark(100 * min(second, 15) + 10 * max(second - 15, 0), now=float(second))
    assert rate() == pytest.approx(10)
    assert len(rate.marks) < 15


def test_clock():
    assert [clock(seconds) for seconds in (0.4, 65.0, 3600 * 25 + 61.0)] == ["0:00:00", "0:01:05", "25:01:01"]


def test_random_numbers_are_not_touched():
    assert train(toy(), 5, Progress()).drawn == train(toy(), 5).drawn
    assert torch.initial_seed() == 0
