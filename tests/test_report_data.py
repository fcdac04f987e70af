"""What a report knows of runs: read from their directories, best first, over seeds; and what it cannot believe."""

import io
import json
import math
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from genmodels.errors import UserError
from genmodels.evaluators.results import Record
from genmodels.report.columns import Columns
from genmodels.report.differences import differences, told_apart
from genmodels.report.entries import Entry, best_first, common_column, entries
from genmodels.report.gather import gather
from genmodels.report.metrics import compared, drawn, newest
from genmodels.report.seeds import alone, over_seeds
from genmodels.report.tables import show
from genmodels.report.words import four_digits, settings_in_words
from genmodels.run.older import as_record
from genmodels.run.results import add_results, read_results
from genmodels.run.run import Run
from tests.synthetic_runs import config, curves, end, record, results, start, write_results, write_run


def only(folder: Path) -> Run:
    (run,) = gather([folder]).runs
    return run


def test_a_run_is_read_whole(tmp_path):
    write_run(tmp_path / "a", config(seed=3), results(1.0), job_json='{"overrides": ["seed=3", "optimizer.lr=0.1"]}')
    run = only(tmp_path)
    assert (run.name, run.dataset, run.model, run.family, run.seed) == ("digits_vae", "digits", "VAE", "vae", 3)
    s = run.status
    assert (s.state, s.error, s.step, s.images_seen, s.seconds) == ("finished", None, 200, 20_000, 60.0)
    assert (s.hardware, s.commit) == ("2 x Some CPU (2 threads)", "0123456789ab")
    assert run.overrides == ("seed=3", "optimizer.lr=0.1") and run.config == config(seed=3)
    assert [r.metric for r in run.results][:2] == ["bits_per_dim", "nll_nats"]
    points = run.series
    assert list(points) == ["train/loss", "val/nll_nats"]
    assert len(points["train/loss"]) == 20 and len(points["val/nll_nats"]) == 2
    assert points["train/loss"][-1] == (20_000.0, pytest.approx(80 + 40 * math.exp(-4)))


def test_a_real_run_is_read(run_dir):
    run = only(run_dir)
    assert (run.dataset, run.family, run.status.state, run.status.step) == ("digits", "vae", "finished", 4)
    assert run.status.seconds is not None and run.status.images_seen == 4 * 64 and "train/loss" in run.series


@pytest.mark.parametrize(
    ("history", "files", "status", "error"),
    [
        ([start(), end()], {}, "finished", None),
        ([start()], {}, "unfinished", None),
        ([], {}, "unfinished", None),
        ([start(), end(status=143)], {}, "interrupted", None),
        ([start(), end(status=130), start(100), end()], {}, "finished", None),
        ([start(), end(status=1)], {}, "failed", "exit status 1"),
        ([start(), end(status=1)], {"error_txt": "the loss is nan\n"}, "failed", "the loss is nan"),
        ([], {"error_txt": "data.batch_size is odd\n"}, "failed", "data.batch_size is odd"),
        ([start(), end(status=1)], {"pruned_txt": "worse than the median\n"}, "pruned", "worse than the median"),
    ],
)
def test_how_a_run_ended(tmp_path, history, files, status, error):
    write_run(tmp_path / "a", config(), history=history, **files)
    assert (only(tmp_path).status.state, only(tmp_path).status.error) == (status, error)


def test_times_of_starts_without_an_end_are_not_made_up(tmp_path):
    events = [start(), end(100, 40, 143), start(100, 1000), start(150, 2000), end(200, 2020)]
    write_run(tmp_path / "a", config(), history=events)
    run = only(tmp_path)
    assert (run.status.seconds, run.status.killed, run.status.step) == (60.0, 1, 200)
    assert run.status.seconds_per_image == pytest.approx(60 / 15_000)
    write_run(tmp_path / "b", config(), history=[start()], rows=10)
    killed = gather([tmp_path / "b"]).runs[0]
    assert (killed.status.seconds, killed.status.seconds_per_image) == (None, None)
    assert (killed.status.step, killed.status.images_seen) == (200, 20_000)


def test_runs_are_found_below_folders_once_and_nothing_within_a_run_is_one(tmp_path):
    for name in ("sweep/0_a", "sweep/1_b", "one"):
        write_run(tmp_path / name, config())
    for inside in ("wandb/files", "samples", "checkpoints"):
        (tmp_path / "one" / inside).mkdir(parents=True)
        (tmp_path / "one" / inside / "config.yaml").write_text("a: 1")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "config.yaml").write_text("a: 1")
    found = gather([tmp_path, tmp_path / "sweep", tmp_path / "one" / ".." / "one"])
    assert [run.path.name for run in found.runs] == ["one", "0_a", "1_b"]
    assert not found.skipped


# What cannot be believed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"version": 1, "results": [', "is damaged"),
        ("\x00\xff", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"version": 0, "results": []}', "is of version 0, expected version 1"),
        ('{"results": []}', "has no version, expected version 1"),
        ("[]", "has no version"),
        ('{"version": 1}', "entries that are not records"),
        ('{"version": 1, "results": [{"metric": "fid"}]}', "entries that are not records"),
        (json.dumps({"version": 1, "results": [record("fid", 1) | {"value": "1"}]}), "entries that are not records"),
        (
            json.dumps({"version": 1, "results": [record("fid", 1) | {"value": 10**400}]}),
            "entries that are not records",
        ),
    ],
)
def test_results_that_are_damaged_or_older_are_named_skipped_and_never_overwritten(tmp_path, text, reason):
    write_run(tmp_path / "a", config(), results_json=text)
    found = gather([tmp_path])
    (skipped,) = found.skipped
    assert skipped.path == tmp_path / "a" / "results.json" and reason in skipped.reason
    assert found.runs[0].results == [] and "train/loss" in found.runs[0].series
    for use in (read_results, lambda file: add_results(file, [record("fid", 1.0)])):
        with pytest.raises(UserError, match=f"^{skipped.path} .*genmodels evaluate run="):
            use(skipped.path)
    assert skipped.path.read_text() == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "is not valid YAML"),
        ("a: 1", "has no data"),
        ("exported: {step: 1}", "is an export"),
        ("a: ${oc.env:HOME}", "interpolation"),
        (OmegaConf.to_yaml(config(seed="x")), "has 'x' as seed"),
        (OmegaConf.to_yaml(config(data=["digits"])), "has ['digits'] as data"),
    ],
)
def test_a_config_that_is_none_of_a_run_is_skipped(tmp_path, text, reason):
    write_run(tmp_path / "good", config())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.yaml").write_text(text)
    found = gather([tmp_path])
    assert [run.path.name for run in found.runs] == ["good"]
    assert [skipped.path for skipped in found.skipped] == [tmp_path / "bad"] and reason in found.skipped[0].reason


def test_a_damaged_history_and_what_is_no_run_are_named(tmp_path):
    write_run(tmp_path / "a", config(), history_jsonl="one\ntwo\nthree")
    (tmp_path / "images").mkdir()
    write_results(tmp_path / "images", [record("fid_1k", 3.0)])
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("")
    found = gather([tmp_path / name for name in ("a", "images", "empty", "note.txt")])
    assert [run.status.state for run in found.runs] == ["unfinished"]
    reasons = {skipped.path.name: skipped.reason for skipped in found.skipped}
    assert "has 3 unreadable lines of 3" in reasons["history.jsonl"]
    assert "no config.yaml" in reasons["images"]
    assert reasons["empty"] == "has no run in it" and reasons["note.txt"] == "is a file, not a folder"
    with pytest.raises(UserError, match="missing does not exist; give run directories"):
        gather([tmp_path / "missing"])


def test_a_job_of_a_sweep_that_never_began_is_named_with_its_error(tmp_path):
    write_run(tmp_path / "0", config(), job_json='{"overrides": []}')
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "job.json").write_text('{"overrides": ["optimizer.lr=x"]}')
    (tmp_path / "1" / "error.txt").write_text("optimizer.lr is 'x', expected a number\n")
    (skipped,) = gather([tmp_path]).skipped
    assert skipped.path == tmp_path / "1"
    assert skipped.reason == "is a job of a sweep that never started: optimizer.lr is 'x', expected a number"


def test_a_line_that_was_cut_off_by_a_kill_is_no_damage(tmp_path):
    write_run(
        tmp_path / "a", config(), history_jsonl=json.dumps(start()) + '\n{"event": "en', metrics_csv=curves(5)[:-3]
    )
    found = gather([tmp_path])
    assert not found.skipped and found.runs[0].status.step == 160 and len(found.runs[0].series["train/loss"]) == 4


@pytest.mark.parametrize(
    "text", ["a,b\n1,2\n", "images_seen,step,loss\n1,2\n", "images_seen,step,loss\n1,2,x\n", "\xff"]
)
def test_a_damaged_table_of_metrics_is_refused(tmp_path, text):
    write_run(tmp_path / "a", config(), metrics_csv=text)
    with pytest.raises(UserError, match="metrics.csv is not a table of metrics from genmodels"):
        _ = only(tmp_path).series


def test_numbers_that_are_not_finite_are_left_out_of_curves_and_come_last(tmp_path):
    write_run(
        tmp_path / "a", config(), [record("fid_1k", math.nan)], metrics_csv="images_seen,step,l\n1,1,nan\n2,2,3\n"
    )
    write_run(tmp_path / "b", config(), [record("fid_1k", 9.0)])
    runs = gather([tmp_path]).runs
    assert runs[0].series == {"l": [(2.0, 3.0)]}
    assert names(first_to_last(runs)) == ["b", "a"]


# Tables


def first_to_last(runs: list[Run], metric: str | None = None) -> list[Entry]:
    rows, columns = entries(alone(runs)), Columns(alone(runs))
    return best_first(rows, columns, common_column(rows, columns, metric))


def names(rows: list[Entry]) -> list[str]:
    return [" ".join([row.run.path.name, *row.way]) for row in rows]


def headings(runs: list[Run]) -> list[str]:
    return [str(column) for column in Columns(alone(runs)).all]


def gathered(tmp_path: Path, *qualities: float, **changes) -> list[Run]:
    for seed, quality in enumerate(qualities):
        write_run(tmp_path / f"run{seed}", config(seed=seed, **changes), results(quality))
    return gather([tmp_path]).runs


def test_best_first_by_the_metric_that_all_finished_runs_share(tmp_path):
    gathered(tmp_path, 2.0, 1.0, 3.0)
    write_run(tmp_path / "gan", config("gan"), results(0.5)[2:])
    write_run(tmp_path / "killed", config("gan"), history=[start()])
    runs = gather([tmp_path]).runs
    assert common_column(entries(alone(runs)), Columns(alone(runs))).metric == "test/fid_classifier_1k"
    assert names(first_to_last(runs)) == ["gan", "run1", "run0", "run2", "killed"]
    assert names(first_to_last(runs, "test/density_classifier_1k")) == ["gan", "run1", "run0", "run2", "killed"]
    assert names(first_to_last(runs, "test/nll_nats"))[:3] == ["run1", "run0", "run2"]
    assert first_to_last([]) == []


@pytest.mark.parametrize("mode, order", [("max", ["b", "c", "a"]), ("min", ["a", "c", "b"]), (None, ["a", "b", "c"])])
def test_which_way_is_better_is_what_the_record_says_whatever_its_name(tmp_path, mode, order):
    for name, value in (("a", 0.134), ("b", 0.948), ("c", 0.5)):
        write_run(tmp_path / name, config(), [record("sharpness", value, mode=mode)])
    assert names(first_to_last(gather([tmp_path]).runs, "test/sharpness")) == order


def older(metric: str, config: dict, **protocol) -> Record:
    plain = record(metric, 1.0, **protocol)
    del plain["mode"]
    return as_record(plain, config)


def test_records_of_older_files_get_their_mode_by_their_name():
    higher = ["recall_1k", "coverage_classifier_1k", "density_1k", "elbo_nats", "samples_per_second"]
    assert {older(name, config()).mode for name in higher} == {"max"}
    lower = ["fid_infinity_1k", "kid_1k", "bits_per_dim", "nll_nats"]
    assert {older(name, config()).mode for name in lower} == {"min"}
    assert {older(name, config()).mode for name in ("sharpness", "precisely")} == {None}


def test_an_older_conditional_likelihood_gets_the_name_that_it_has_now():
    settings = config(model={"_target_": "x.Y", "conditional": True})
    found = older("nll_nats", settings, bound="exact")
    assert found.metric == "conditional_nll_nats" and found.protocol["conditional_on"] == ["label"]
    assert older("fid_1k", settings).metric == "fid_1k" and older("nll_nats", config()).metric == "nll_nats"


ELBO = {"reference": "digits/test", "n_reference": 300, "bound": "elbo", "draws": 1}
FID = {"n_generated": 1000, "reference": "digits/train", "n_reference": 1297, "features": "classifier"}


@pytest.mark.parametrize(
    "changed, word",
    [
        ({"bound": "exact"}, "bound exact"),
        ({"draws": 50}, "draws 50"),
        ({"reference": "digits/val"}, "reference digits/val"),
        ({"n_reference": 100}, "n_reference 100"),
        ({"reference_fingerprint": "0a" * 32}, "reference_fingerprint 0a0a0a0a0a0a"),
        ({"dequantization": "uniform"}, "dequantization uniform"),
        ({"resize": "tf1"}, "resize tf1"),
        ({"features_sha256": "0a" * 32}, "features_sha256 0a0a0a0a0a0a"),
        ({"something_of_mine": 3}, "something_of_mine 3"),
    ],
)
def test_what_may_not_be_compared_stands_in_columns_of_its_own(tmp_path, changed, word):
    write_run(tmp_path / "a", config(), [record("nll_nats", 9.0, **ELBO)])
    write_run(tmp_path / "b", config("flow"), [record("nll_nats", 8.0, **{**ELBO, **changed})])
    runs = gather([tmp_path]).runs
    assert len(headings(runs)) == 2 and headings(runs)[1] == f"test/nll_nats ({word})"
    columns = Columns(alone(runs))
    assert [[row.values(columns).get(column) for column in columns.all] for row in entries(alone(runs))] == [
        [9, None],
        [None, 8],
    ]


@pytest.mark.parametrize(
    "changed",
    [{"seed": 1}, {"noise": "x"}, {"step": 100}, {"world_size": 2}, {"note": "!"}, {"dtype": "x"}]
    + [{"standard_error": 1.0}],
)
def test_what_is_chance_or_belongs_to_the_run_splits_no_column(tmp_path, changed):
    write_run(tmp_path / "a", config(), [record("nll_nats", 9.0, **ELBO)])
    write_run(tmp_path / "b", config("flow"), [record("nll_nats", 8.0, **ELBO) | {"std": 1.0}])
    other = record("nll_nats", 7.0, **ELBO)
    other["protocol"] |= changed
    write_run(tmp_path / "c", config("gan"), [other])
    assert headings(gather([tmp_path]).runs) == ["test/nll_nats"]


def test_where_time_was_taken_the_number_of_processes_counts():
    timed = {"hardware": "2 x Some CPU", "batch": 100, "world_size": 2}
    assert "world_size" in compared(timed) and "world_size" not in compared(ELBO | {"world_size": 2})


def test_datasets_share_columns_and_the_fewest_words_tell_columns_apart(tmp_path):
    """A reference on each dataset makes no column of its own; draws say nothing once the bound is said."""
    for dataset, n in (("digits", 300), ("mnist", 10_000)):
        elbo = ELBO | {"reference": f"{dataset}/test", "n_reference": n}
        write_run(tmp_path / dataset, config(dataset=dataset), [record("nll_nats", 9.0, **elbo)])
    assert headings(gather([tmp_path]).runs) == ["test/nll_nats"]
    tight = record("nll_nats", 8.0, **{**ELBO, "bound": "iwae", "draws": 50})
    write_run(tmp_path / "iwae", config(), [tight])
    assert headings(gather([tmp_path]).runs) == ["test/nll_nats (bound elbo)", "test/nll_nats (bound iwae)"]


def test_conditional_likelihoods_stand_in_no_column_with_unconditional_ones(tmp_path):
    write_run(tmp_path / "a", config(), [record("nll_nats", 9.0, **ELBO)])
    write_run(tmp_path / "b", config(), [record("conditional_nll_nats", 8.0, **ELBO, conditional_on=["label"])])
    model = {"_target_": "genmodels.models.vae.VAE", "conditional": True}
    before = record("nll_nats", 7.0, **ELBO)
    del before["mode"]
    write_run(tmp_path / "c", config(model=model), [before])  # as it was filed then
    assert headings(gather([tmp_path]).runs) == ["test/nll_nats", "test/conditional_nll_nats"]


def test_ways_of_sampling_are_rows_and_none_hides_another(tmp_path):
    """The case of an evaluation with sampler.eta=1 after one with eta 0: two numbers, two rows that say which."""
    eta = [record("fid_1k", value, **FID, sampler="ddim", sampler_steps=20, sampler_eta=e) for e, value in EACH.items()]
    own = [record("bits_per_dim", 2.4, **ELBO), *eta]
    own += [record("samples_per_second", 99.0, n_generated=64, hardware="x", **eta_of(0.0))]
    write_run(tmp_path / "ddpm", config("diffusion"), own)
    write_run(tmp_path / "gan", config("gan"), [record("fid_1k", 6.5, **FID)])
    runs = gather([tmp_path]).runs
    assert names(first_to_last(runs, "test/fid_1k")) == ["ddpm sampler_eta=1.0", "gan", "ddpm sampler_eta=0.0"]
    columns = Columns(alone(runs))
    told = [[row.values(columns).get(column) for column in columns.all] for row in entries(alone(runs))]
    assert told == [[2.4, 7.6003, 99.0], [2.4, 5.8228, None], [None, 6.5, None]]  # a likelihood is the model's


EACH = {0.0: 7.6003, 1.0: 5.8228}


def eta_of(eta: float) -> dict:
    return {"sampler": "ddim", "sampler_steps": 20, "sampler_eta": eta}


def test_ways_are_told_by_the_settings_in_which_they_differ(tmp_path):
    def found(*protocols: dict) -> list[list[str]]:
        plain = [record("fid_1k", 1.0, **FID, **protocol) for protocol in protocols]
        write_results(write_run(tmp_path / str(len(list(tmp_path.iterdir()))), config()), plain)
        return [row.way for row in entries(alone(gather([tmp_path]).runs[-1:]))]

    assert found({}) == [[]] and found() == [[]]
    assert found({"sampler": "direct"}, {"sampler": "direct"}) == [[]]
    guided = {"sampler": "heun", "sampler_guidance_interval": [0.1, 1], "sampler_guidance": 2}
    assert found({"sampler": "heun", "sampler_guidance": 1}, guided) == [
        ["sampler_guidance=1"],
        ["sampler_guidance=2", "sampler_guidance_interval=[0.1, 1]"],
    ]
    assert found({"weights": "ema"}, {"weights": "raw"}) == [["weights=ema"], ["weights=raw"]]
    assert found({"conditions": "uniform"}, {"conditions": "reference"})[1] == ["conditions=reference"]
    assert "sampler_eta" not in compared(eta_of(0.0)) and drawn(eta_of(0.0)) == eta_of(0.0)


def test_the_newest_step_and_the_trainings_own_evaluation_stand_for_a_metric(tmp_path):
    own = [
        record("nll_nats", 9.0, step=100, draws=1),
        record("nll_nats", 8.0, draws=1),
        record("nll_nats", 7.0, draws=50),
    ]
    write_run(tmp_path / "a", config(), own)
    assert [found.value for found in newest(only(tmp_path).results)] == [8.0, 7.0]


def test_mean_and_spread_over_seeds_of_runs_that_differ_in_nothing_else(tmp_path):
    for seed, quality in enumerate((1.0, 2.0, 3.0)):
        elsewhere = {"run_dir": f"run{seed}", "logger": {}, "callbacks": {"checkpoint": {"dirpath": f"c{seed}"}}}
        write_run(tmp_path / f"run{seed}", config(seed=seed, **elsewhere), results(quality))
    write_run(tmp_path / "other", config(optimizer={"lr": 0.1}), results(5.0))
    groups = over_seeds(gather([tmp_path]).runs)
    assert [len(group.runs) for group in groups] == [1, 3]
    spread = groups[1].mean("test/fid_classifier_1k")
    assert spread is not None and (spread.n, spread.value, spread.std) == (3, 7.0, 1.0)
    assert spread.protocol["reference"] == "digits/train"
    assert groups[0].mean("test/fid_classifier_1k").std is None and groups[1].mean("test/nothing") is None


def test_ways_of_measuring_are_not_mixed_and_sample_seeds_of_a_run_count_once(tmp_path):
    of_run = [{}, {"seed": 1}, {"sampler_steps": 5}]
    first = [
        record("fid_1k", v, n_generated=1000, **about) for v, about in zip((10.0, 20.0, 90.0), of_run, strict=True)
    ]
    write_run(tmp_path / "a", config(seed=0), first)
    later = [record("fid_1k", 17.0, n_generated=1000), record("fid_1k", 1.0, n_generated=1000, step=100)]
    write_run(tmp_path / "b", config(seed=1), later)
    (group,) = over_seeds(gather([tmp_path]).runs)
    assert [(s.n, s.value, s.protocol.get("sampler_steps")) for s in group.results] == [(2, 16.0, None), (1, 90.0, 5)]
    assert [row.way for row in entries([group])] == [[], ["sampler_steps=5"]]


def test_what_differs(tmp_path):
    write_run(tmp_path / "a", config(optimizer={"lr": 0.1}), job_json='{"overrides": ["optimizer.lr=0.1", "seed=0"]}')
    write_run(tmp_path / "b", config("vae", trainer={"max_steps": 10}))
    write_run(tmp_path / "c", config("vae"))
    write_run(tmp_path / "d", config("gan"))
    *_, gathered_d = found = gather([tmp_path]).runs
    told = differences(found)
    assert told[0] == {"optimizer.lr": "0.1"} and told[3] == {"model": gathered_d.model}
    assert told[1]["trainer.max_steps"] == 10 and "seed" not in told[1]
    assert told_apart(found)[found[0]] == ["lr=0.1"]
    assert settings_in_words({"lr": "0.007663924212881932", "b": "1.0e-05", "c": 0.5, "d": None, "e": 1.0}) == [
        *("lr=0.00766392", "b=1e-05", "c=0.5", "d=null", "e=1.0")
    ]


def test_keys_are_told_as_short_as_they_can_be(tmp_path):
    for name, width in (("a", 1), ("b", 2)):
        model = {"_target_": "x.Y", "a": {"b": {"width": width}}, "c": {"b": {"width": 3 - width % 2}}}
        write_run(tmp_path / name, config(model=model, optimizer={"lr": width / 10}))
    assert list(told_apart(gather([tmp_path]).runs).values())[0] == ["a.b.width=1", "c.b.width=2", "lr=0.1"]


def test_the_terminals_tables(tmp_path):
    gathered(tmp_path, 2.0, 1.0)
    write_run(
        tmp_path / "x", config(dataset="mnist"), error_txt="[bold]no[/bold] files", history=[start(), end(status=1)]
    )
    console = Console(record=True, width=140, file=io.StringIO())
    show(gather([tmp_path]).runs, None, console)
    text = console.export_text()
    assert "digits: 2 runs, best test/bits_per_dim first" in text and "mnist: 1 run, no results yet" in text
    assert text.index("2.1") < text.index("2.2") and "2.150 ± 0.071" in text
    assert f"{tmp_path / 'x'}: failed: [bold]no[/bold] files" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_leaves_columns_out_rather_than_digits(width, tmp_path):
    for seed in (0, 1):
        results = [record(f"metric_{i}", 19.60 + i, mode="min" if i % 2 else "max") for i in range(9)]
        write_run(tmp_path / str(seed), config("vae", seed), results)
    console = Console(record=True, width=width, file=io.StringIO())
    show(gather([tmp_path]).runs, None, console)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width and not any("…" in line for line in lines)
    cells = [cell.strip() for line in lines if "finished" in line for cell in line.strip("│ ").split("│")[4:]]
    assert cells and all(float(cell) in {19.6 + i for i in range(9)} for cell in cells)
    assert "↑" in " ".join(lines) and ("↓" in " ".join(lines) or width < 80)


def test_the_terminals_tables_say_what_may_be_compared_and_how_was_sampled(tmp_path):
    for seed in (0, 1):
        eta = [record("fid_1k", 7.0 - e + seed, **FID, **eta_of(e)) for e in (0.0, 1.0)]
        write_run(tmp_path / f"ddpm{seed}", config("diffusion", seed), [record("nll_nats", 90.0, **ELBO), *eta])
    write_run(tmp_path / "flow", config("flow"), [record("nll_nats", 80.0, **{**ELBO, "bound": "exact"})])
    console = Console(record=True, width=160, file=io.StringIO())
    show(gather([tmp_path]).runs, "test/nll_nats", console)
    text = " ".join(console.export_text().split())
    assert "best test/nll_nats (bound elbo) first" in text and "bound exact" in text
    assert text.count("sampler_eta=1.0") == 3 and "7.50 ± 0.71" in text and "6.50 ± 0.71" in text


def test_numbers_as_they_are_written(tmp_path):
    assert [four_digits(x) for x in (84.1234, 1126.48, 0.00012345, 0.0)] == ["84.12", "1126.5", "0.0001234", "0"]
    (group,) = over_seeds(gathered(tmp_path, 1.0, 1.31, 1.17))
    mean = group.mean("test/fid_classifier_1k")
    assert (mean.text(3), mean.text(5)) == ("6.16 ± 0.16", "6.16 ± 0.16 (n = 3)")
