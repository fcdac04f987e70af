"""The ledger: experiments become results, results become the page, and only what is the paper's run fills its row."""

import dataclasses
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra

from genmodels.cli.reproduce import default_docs
from genmodels.errors import Stopped, UserError
from genmodels.report.gather import Skipped
from genmodels.report.ledger import baselines, children
from genmodels.report.ledger.baselines import experiment
from genmodels.report.ledger.book import Book, ledger_page
from genmodels.report.ledger.children import Children, Ended
from genmodels.report.ledger.collect import Attempt, Found, result_of
from genmodels.report.ledger.comparisons import comparisons
from genmodels.report.ledger.experiments import Experiment, deviations, portable
from genmodels.report.ledger.results import Result, read_result
from genmodels.report.templates import code, link, plain
from tests.helpers import exit_status

TINY = {
    "defaults": [
        {"override /data": "toy2d"},
        {"override /model": "realnvp_points"},
        {"override /evaluator": ["likelihood"]},
        {"override /trainer": "cpu"},
        {"override /logger": "csv"},
        {"override /callbacks": "none"},
    ],
    "name": "tiny",
    "baseline": {
        "system": "RealNVP",
        "paper": "Someone 2016",
        "link": "https://example.org/paper",
        "metric": "test/nll_nats",
        "figure": 4.0,
        "source": "table 1",
        "protocol": "exact, all test points",
        "tolerance": [-2.0, 2.0],
        "variant": None,
        "minutes": 0.5,
    },
    "data": {"n_train": 300, "n_validation": 10, "n_test": 50, "batch_size": 32},
    "model": {"bijections": {"couplings": {"couplings": 2, "widths": [8]}}},
    "trainer": {"max_steps": 4},
}
COMMAND = "reproduce --config-dir mine docs=docs out=runs"


def write_experiment(root: Path, name: str = "tiny", **changes) -> None:
    """mine/experiment/NAME.yaml: the tiny one, with other values for dotted keys (a__b)."""
    node = json.loads(json.dumps({**TINY, "name": name}))
    for key, value in changes.items():
        *path, last = key.split("__")
        inner = node
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    file = root / "mine" / "experiment" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# @package _global_\n{yaml.safe_dump(node)}")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A folder of experiments with only `tiny` in it."""
    write_experiment(tmp_path)
    monkeypatch.setattr(
        baselines, "names", lambda folder: sorted(file.stem for file in (folder / "experiment").glob("*.yaml"))
    )
    return tmp_path


@pytest.fixture
def started(monkeypatch):
    """The command lines that were started, which run in this process."""
    lines: list[list[str]] = []

    def run(self, words, deadline) -> Ended:
        lines.append(list(words))
        GlobalHydra.instance().clear()
        status = exit_status(words)
        return Ended(status, "it went wrong" if status else "", status == 143)

    monkeypatch.setattr(Children, "run", run)
    return lines


def made_up(name: str = "x", **changes) -> Experiment:
    """An experiment that nobody composes."""
    baseline = {**TINY["baseline"], "metric": "test/nll_nats", **changes}
    config = {"name": name, "data": {"name": "toy", "batch_size": 32}, "trainer": {"max_steps": 4}, "seed": 0}
    return experiment(name, {**config, "baseline": baseline})


def failure(of: Experiment, seed: int, sentence: str) -> Result:
    """That of a training which left nothing."""
    return result_of(Found(Attempt(of, seed, Path("nowhere"))), failed_with=sentence, exit_status=1)


def result(of: Experiment, seed: int, *values: float, protocol: dict | None = None, **changes) -> Result:
    """A finished run's, with a record for each value."""
    about = {"n_generated": 10} if len(values) > 1 else {}
    records = [
        {"metric": "nll_nats", "split": "test", "value": v, "std": None}
        | {"protocol": {**about, **(protocol or {}), "seed": i, "step": 4}}
        for i, v in enumerate(values)
    ]
    facts = dataclasses.asdict(failure(of, seed, ""))
    facts |= {"status": "finished", "error": None, "exit": 0, "records": records, "seconds": 90.0}
    return Result(**{**facts, "date": "2026-11-20T10:00:00+00:00", "commit": "abc", **changes})


@pytest.mark.slow
def test_an_experiment_becomes_a_row(mine, genmodels, started):
    assert genmodels(*COMMAND.split(), "tiny", "seeds=[0,1]") == (0, "")
    written = (mine / "docs" / "BASELINES.md").read_text()
    values = [
        json.loads((mine / f"docs/baselines/tiny/seed_{s}.json").read_text())["records"][0]["value"] for s in (0, 1)
    ]
    assert f"{sum(values) / 2:.3f} ± {abs(values[0] - values[1]) / 2**0.5:.3f}" in written
    assert "seeds 0, 1" in written and "**in**" in written and "1 published numbers: 1 in." in written
    assert "genmodels train experiment=tiny seed=S" in written and str(mine) not in written
    assert all(str(mine) not in file.read_text() for file in (mine / "docs").rglob("*.json"))
    assert genmodels(*COMMAND.split()[:4], "--check") == (0, "")

    trained = len(started)
    before = {file: file.read_bytes() for file in (mine / "docs").rglob("*.*")}
    assert genmodels(*COMMAND.split(), "seeds=[0,1]") == (0, "")
    assert len(started) == trained == 2, "a finished run is not trained again"
    assert before == {file: file.read_bytes() for file in (mine / "docs").rglob("*.*")}, "byte for byte"

    (mine / "docs" / "BASELINES.md").write_text(written.replace("**in**", "**out**"))
    status, said = genmodels(*COMMAND.split()[:4], "--check")
    assert status == 1 and "do not agree" in said
    assert genmodels(*COMMAND.split(), "--collect")[0] == 0 and len(started) == 2
    assert (mine / "docs" / "BASELINES.md").read_text() == written


def test_runs_that_lie_elsewhere_are_collected(mine, genmodels, started):
    train = "train experiment=tiny seed=3 hydra.run.dir=elsewhere/tiny/seed_3 --config-dir mine"
    assert genmodels(*train.split()) == (0, "")
    assert genmodels(*COMMAND.split()[:-1], "out=elsewhere", "--collect") == (0, "")
    assert started == [] and (mine / "docs/baselines/tiny/seed_3.json").is_file()
    assert "**in**" in (mine / "docs" / "BASELINES.md").read_text()


def test_a_checkouts_page_is_written_for_who_asks_for_it_alone(mine, genmodels, started):
    page = default_docs() / "BASELINES.md"
    before = page.stat().st_mtime_ns
    assert genmodels("reproduce", "--config-dir", "mine", "out=runs", "--collect")[0] == 0
    assert page.stat().st_mtime_ns == before and (mine / "runs" / "BASELINES.md").is_file()


@pytest.mark.slow
def test_the_budget_ends_a_training_which_goes_on_at_the_next_call(mine, genmodels, monkeypatch):
    """The child gets SIGTERM in its second step, as from a deadline, and saves itself."""
    lines = []

    def run(self, words, deadline) -> Ended:
        lines.append(list(words))
        GlobalHydra.instance().clear()
        cut = "+callbacks.cut={_target_:tests.helpers.Signal,number:15,after_batches:2}"
        status = exit_status([words[0], cut, *words[1:]] if len(lines) == 1 else words)
        return Ended(status, "", status == 143)

    monkeypatch.setattr(Children, "run", run)
    status, said = genmodels(*COMMAND.split(), "budget=5", "trusted=[tests]")
    assert status == 0, said
    assert "not run" in (mine / "docs" / "BASELINES.md").read_text() and not (mine / "docs" / "baselines").exists()
    status, said = genmodels(*COMMAND.split(), "budget=5", "trusted=[tests]")
    assert status == 0, said
    assert lines[1][1] == "resume=runs/tiny/seed_0"
    assert json.loads((mine / "docs/baselines/tiny/seed_0.json").read_text())["steps"] == 4


@pytest.mark.slow
def test_a_failed_training_does_not_stop_the_others(mine, genmodels, started, monkeypatch):
    write_experiment(mine, "bad", baseline__minutes=0.1, baseline__system="Bad", optimizer={"lr": 1e30})
    write_experiment(mine, "worse", baseline__minutes=0.2, baseline__system="Worse", model={"nonsense": 1})
    status, _ = genmodels(*COMMAND.split())
    assert status == 1 and [words[1] for words in started] == [f"experiment={n}" for n in ("bad", "worse", "tiny")]
    written = (mine / "docs" / "BASELINES.md").read_text()
    assert "does not count: failed: it went wrong" in written
    assert written.count("**in**") == 2 and "1 in, 1 failed, 1 not run" in written  # one of them explains the word
    assert not (mine / "docs/baselines/worse").exists(), "what was refused before it began is no result"


def test_a_training_that_was_killed_leaves_no_result(mine, genmodels, monkeypatch):
    monkeypatch.setattr(Children, "run", lambda self, words, deadline: Ended(-9, "", False))
    assert genmodels(*COMMAND.split())[0] == 1
    assert "1 not run" in (mine / "docs" / "BASELINES.md").read_text() and not (mine / "docs/baselines").exists()


@pytest.mark.slow
def test_samples_are_measured_with_several_seeds(mine, genmodels, started):
    """A metric of samples; the features are of torch, which the person says they trust."""
    write_experiment(
        mine,
        "sampled",
        defaults=[*TINY["defaults"][3:], {"override /evaluator": ["fid"]}, {"override /features": "module"}],
        model={"encoder": {"width": 8}, "decoder": {"width": 8}},
        data={"batch_size": 64},
        evaluator={"fid": {"n": 20}},
        features={"name": "pixels", "module": {"_target_": "torch.nn.Flatten"}},
        baseline__metric="test/fid_pixels_20",
    )
    status, said = genmodels(*COMMAND.split(), "sampled", "seeds=[1]", "sample_seeds=[0,1]", "trusted=[torch]")
    assert status == 0, said
    assert started[1] == ["evaluate", "run=runs/sampled/seed_1", "seed=0", "trusted=[torch]", "--config-dir", "mine"]
    assert len(started) == 2, "seed 1 is that of the training's own evaluation"
    assert "2 seeds of samples each" in (mine / "docs" / "BASELINES.md").read_text()


@pytest.mark.parametrize(
    "values, mean, spread, seeds, sample_seeds",
    [
        ([[3.0], [5.0]], 4.0, 2**0.5, [0, 1], 1),
        ([[3.0, 5.0]], 4.0, 2**0.5, [0], 2),
        ([[3.0, 5.0], [6.0, 8.0]], 5.5, 4.5**0.5, [0, 1], 2),
    ],
)
def test_mean_and_spread(values, mean, spread, seeds, sample_seeds):
    of = made_up()
    (row,) = comparisons([of], [result(of, seed, *of_run) for seed, of_run in enumerate(values)])
    assert (row.ours.value, row.ours.std) == (mean, pytest.approx(spread))
    assert list(row.records) == seeds and {len(records) for records in row.records.values()} == {sample_seeds}


def test_a_run_without_the_metric_has_no_number():
    of = made_up(metric="test/other")
    (row,) = comparisons([of], [result(of, 0, 3.0)])
    assert (row.ours, row.ours_in_words, row.verdict) == (None, "", "no result")


def test_in_and_out():
    of = made_up(figure=4.0, tolerance=[-0.5, 0.25])
    for value, verdict in ((4.25, "in"), (3.5, "in"), (4.3, "out: +0.30"), (3.0, "out: -1.00"), (float("nan"), "out")):
        assert comparisons([of], [result(of, 0, value)])[0].verdict.startswith(verdict)


def test_a_variant_never_fills_the_papers_row():
    paper, short = made_up("x"), made_up("x_short", variant="a tenth of the steps")
    found = comparisons([short, paper], [result(short, 0, 4.0)])
    assert [(row.experiment.name, row.verdict) for row in found] == [("x", "not run"), ("x_short", "variant: +0.00")]
    written = ledger_page([short, paper], [result(short, 0, 4.0)], [])
    assert "1 published numbers: 1 not run; 1 of 1 variants ran." in written and "RealNVP, *variant*" in written
    alone = comparisons([short], [result(short, 0, 4.0)])
    assert [row.verdict for row in alone] == ["not run", "variant: +0.00"], "the paper's row is there without a file"
    assert "no experiment file yet" in ledger_page([short], [], [])


def test_only_what_is_run_counts():
    of = made_up()
    config = {**of.config, "run_dir": "/there", "seed": 7, "logger": {"csv": {}}, "callbacks": {"a": {}}}
    config |= {"data": {**of.config["data"], "root": "/data"}, "trainer": {"max_steps": 4, "precision": "bf16-mixed"}}
    assert deviations(config, of) == {}
    assert deviations({**config, "data": {"name": "toy", "batch_size": 64}}, of) == {"data.batch_size": [64, 32]}
    assert "trainer.max_steps" in deviations({**config, "trainer": {"max_steps": 5}}, of)
    assert portable({"a": "/x/y", "b": ["/x", "z"], "c": {"d": "~/x"}, "data": {"root": "r"}}) == {
        "b": ["z"],
        "c": {},
        "data": {},
    }
    other = result(of, 0, 4.0, config={**of.config, "data": {"name": "toy", "batch_size": 64}})
    written = ledger_page([of], [other], [])
    assert "other config" in written and "ran with another config: data.batch_size was 64, not 32" in written


def test_results_that_were_measured_otherwise_do_not_count():
    of = made_up()
    first, second = result(of, 0, 4.0, protocol={"draws": 10}), result(of, 1, 5.0, protocol={"draws": 1})
    row = comparisons([of], [first, second])[0]
    assert row.ours.value == 4.0 and row.others[0][1] == "measured in another way: draws was 1, not 10"


def test_a_failure_does_not_take_the_place_of_a_result(tmp_path):
    of = made_up()
    book = Book(tmp_path, [of])
    book.add(failure(of, 0, "no space is left for /home/me/data/x.npz"))
    assert "failed: no space is left for x.npz" in book.page.read_text()
    book.add(result(of, 0, 4.0))
    for worse in (failure(of, 0, "no space is left"), result(of, 0, 9.0, config={"data": {"name": "b"}})):
        file = book.add(worse)
        assert read_result(file).records[0]["value"] == 4.0 and "1 in." in book.page.read_text()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is damaged"),
        ("[]", "has no version"),
        ('{"version": 0}', "is of version 0, expected version 1"),
        ('{"version": 1, "seed": 0}', "experiment is not given"),
        (lambda found: {**found, "more": 1}, "there is no key more"),
        (lambda found: {**found, "seed": "0"}, "seed is '0', expected an integer"),
        (lambda found: {**found, "seconds": True}, "seconds is True, expected a number or null"),
        (lambda found: {**found, "status": "good"}, "status is 'good', expected one of finished, failed"),
        (lambda found: {**found, "records": [{"value": 1}]}, "has a record that is none"),
        (lambda found: {**found, "seed": 5}, "says that it is of x, seed 5"),
    ],
)
def test_a_damaged_or_older_result_is_named(content, reason, tmp_path):
    of = made_up()
    book = Book(tmp_path, [of])
    file = book.add(result(of, 0, 4.0))
    good = json.loads(file.read_text())
    file.write_text(content if isinstance(content, str) else json.dumps(content(good)))
    (bad,) = book.write_page()
    assert str(bad.path) == "x/seed_0.json" and reason in bad.reason
    assert "not believed: 1" in book.page.read_text() and "1 not run" in book.page.read_text()
    assert reason in book.check()[1][0], "the page agrees and the check fails"


def test_an_edited_result_is_seen(tmp_path):
    of = made_up()
    book = Book(tmp_path, [of])
    file = book.add(result(of, 0, 4.0))
    assert book.check() == (1, [])
    file.write_text(file.read_text().replace('"value": 4.0', '"value": 3.0'))
    assert any("4.000" in line for line in book.check()[1])


def test_results_without_an_experiment_are_listed(tmp_path):
    written = ledger_page(
        [made_up("x")], [result(made_up("gone"), 0, 4.0)], [Skipped(Path("a|b/<c>.json"), "<script>")]
    )
    assert "there are no longer: 1" in written and "`gone/seed_0.json`" in written
    assert "<script>" not in written.replace("\\<script", "")


def test_texts_are_made_harmless():
    assert plain("a | b\n<img>") == "a \\| b \\<img\\>"
    assert code("a`b|c") == "`a'b/c`"
    assert link("a", "javascript:alert(1)") == "a" and link("[a]", "https://b.org") == "[\\[a\\]](https://b.org)"


BAD = [
    ("budget=0", "budget is 0, expected minutes above 0"),
    ("budget=-1", "budget is -1, expected minutes above 0"),
    ("budget=abc", "budget is abc, expected minutes above 0"),
    ("budget=", "budget is empty, expected minutes above 0"),
    ("seeds=[]", "seeds is [], expected a list of seeds"),
    ("seeds=[-1]", "seeds is [-1], expected a list of seeds"),
    ("sample_seeds=[a]", "sample_seeds is [a], expected a list of seeds"),
    ("tinny", "there is no experiment tinny with a baseline; did you mean tiny?"),
    ("plain", "experiment plain has no baseline"),
    ("--chek", "there is no flag --chek; choices are --check"),
    ("--check tiny", "--check checks the whole page"),
    ("buget=5", "there is no key buget; did you mean budget?"),
    ("seed=1", "there is no key seed; did you mean seeds?"),
    ("docs=", "docs is empty, expected a folder"),
    ("docs=mine/experiment/tiny.yaml", "docs=mine/experiment/tiny.yaml cannot be written"),
    ("--config-dir nowhere", "--config-dir nowhere is not a folder"),
    ("trainer.max_steps=5", "trainer.max_steps=5 is refused: trainer.max_steps would be 5, and it is 4 in tiny"),
    ("baseline.figure=1", "baseline.figure=1 is refused: reproduce sets it itself"),
    ("hydra.run.dir=x", "hydra.run.dir=x is refused"),
    ("optimizer.lrr=1", "there is no key optimizer.lrr (set on the command line); did you mean optimizer.lr?"),
    ("trainer=gpuu", "there is no trainer=gpuu; did you mean gpu?"),
    ("--check", "BASELINES.md does not exist; write it: genmodels reproduce --collect"),
]


@pytest.mark.parametrize(("words", "sentence"), BAD, ids=[words for words, _ in BAD])
def test_bad_input_is_one_sentence(words, sentence, mine, genmodels, started):
    write_experiment(mine, "plain", baseline=None)
    before = {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()}
    status, said = genmodels(*COMMAND.split(), *words.split())
    assert sentence in said and len(said.strip().splitlines()) == 1
    assert status == (1 if words == "--check" else 2)
    assert before == {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()} and not started


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("tolerance", [0.1], "experiment x, baseline: tolerance is [0.1], expected"),
        ("tolerance", [0.1, 0.2], "the allowed differences below and above the figure"),
        ("figure", float("nan"), "baseline: figure is nan"),
        ("minutes", 0, "baseline: minutes is 0, expected minutes above 0"),
    ],
)
def test_a_baseline_that_cannot_be_meant(key, value, sentence):
    with pytest.raises(UserError, match=None) as raised:
        made_up(**{key: value})
    assert sentence in str(raised.value)


def test_a_baseline_that_lacks_a_key(mine, genmodels):
    baseline = {key: value for key, value in TINY["baseline"].items() if key != "figure"}
    write_experiment(mine, "open", baseline=baseline)
    status, said = genmodels(*COMMAND.split())
    assert status == 2 and "experiment open, baseline: figure is not given" in said


@pytest.mark.slow
def test_a_directory_with_another_run_is_left_alone(mine, genmodels, started):
    assert genmodels(*COMMAND.split())[0] == 0
    write_experiment(mine, data__batch_size=16)
    (mine / "docs/baselines/tiny/seed_0.json").unlink()
    status, _ = genmodels(*COMMAND.split())
    assert status == 1 and len(started) == 1
    written = (mine / "docs" / "BASELINES.md").read_text()
    assert "ran with another config: data.batch_size was 32, not 16" in written


# Children


def script(tmp_path, monkeypatch, code: str) -> None:
    """What is started instead of genmodels."""
    file = tmp_path / "child.py"
    file.write_text(code)
    monkeypatch.setattr(children, "GENMODELS", (children.GENMODELS[0], str(file)))


SAVES_ITSELF = """
import signal, sys, time
def leave(number, frame):
    print("saved", number, file=open(sys.argv[1], "w"))
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, leave)
signal.signal(signal.SIGINT, leave)
open(sys.argv[1] + ".ready", "w").close()
time.sleep(30)
"""


def test_a_child_says_what_it_failed_of():
    ended = Children().run(["list", "modle"], float("inf"))
    assert (ended.status, ended.out_of_time) == (2, False)
    assert ended.sentence == "there is no group modle; did you mean model?"


def test_a_child_is_asked_to_end_when_the_time_is_over(tmp_path, monkeypatch):
    script(tmp_path, monkeypatch, SAVES_ITSELF)
    ended = Children().run([str(tmp_path / "said")], time.monotonic() + 1)
    assert (ended.status, ended.out_of_time) == (143, True)
    assert (tmp_path / "said").read_text() == "saved 15\n"


def test_ctrl_c_reaches_the_child_once_and_ends_the_work(tmp_path, monkeypatch):
    script(tmp_path, monkeypatch, SAVES_ITSELF)

    def press() -> None:
        while not (tmp_path / "said.ready").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    them = Children()
    with them.listening():
        threading.Thread(target=press).start()
        assert them.run([str(tmp_path / "said")], float("inf")).status == 130
    assert (tmp_path / "said").read_text() == "saved 2\n"
    with pytest.raises(Stopped, match="go on with") as stopped:
        them.stop_if_asked("go on with")
    assert stopped.value.signal_number == signal.SIGINT


# What is in the repository


@pytest.fixture(scope="module")
def published():
    return baselines.baselines(None)


LIKELIHOODS = {"nll_nats", "bits_per_dim"}


@pytest.mark.slow
def test_every_baseline_names_a_metric_that_is_measured(published):
    """By the evaluators that its experiment chooses."""
    from genmodels.engine import build
    from genmodels.evaluators.base import SampleMetric
    from genmodels.evaluators.results import metric_name

    for one in published:
        split, _, metric = one.aim.metric.partition("/")
        evaluators = build.instances(one.config["evaluator"])
        known = set()
        for evaluator in evaluators.values():
            features = (one.config["features"] or {}).get("name", "")
            over_samples = isinstance(evaluator, SampleMetric)
            known |= {metric_name(evaluator.kind, features, evaluator.n)} if over_samples else LIKELIHOODS
        assert split == "test" and metric in known, one.name


@pytest.mark.slow
def test_every_variant_is_named_as_such(published):
    """In its file's name; and the paper's own row has an experiment file of its own."""
    for one in published:
        assert (one.aim.variant is not None) == one.name.endswith(("_short", "_small")), one.name
        assert one.aim.link.startswith("https://") and one.config["name"] == one.name


@pytest.mark.slow
def test_the_page_and_the_results_of_the_repository_agree(published):
    """As `genmodels reproduce --check` does."""
    assert Book(default_docs(), published).check()[1] == []
