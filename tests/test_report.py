"""genmodels report: its page, Markdown and CSV as files, and one sentence for what it is given wrongly."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from genmodels.report.contents import Contents, contents
from genmodels.report.curves import as_columns, thin, thinned
from genmodels.report.files import appendix, csv_table, web_page
from genmodels.report.gather import gather
from genmodels.report.payload import payload
from genmodels.report.pictures import OF_PAGE_BYTES, as_urls, last_grid
from genmodels.report.words import duration, in_short
from genmodels.run.run import Run
from tests.synthetic_runs import OVER_SAMPLES, TARGETS, config, end, record, results, start, write_run

BASELINE = {
    "system": "VAE, 1 layer",
    "paper": "Somebody 2015",
    "link": "https://example.org/paper",
    "metric": "test/nll_nats",
    "figure": 90.0,
    "source": "Table 1",
    "protocol": "5000 draws",
    "tolerance": [-1.0, 2.0],
    "variant": None,
    "minutes": 1.0,
}


def made(folder: Path, metric: str | None = None) -> Contents:
    return contents(gather([folder]), metric)


def data_in(html: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def markup(html: str) -> str:
    """The page without its scripts and its data."""
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_the_command_prints_the_tables_and_writes_three_files(genmodels, tmp_path, capsys):
    for seed in (0, 1):
        write_run(tmp_path / "runs" / str(seed), config(seed=seed), results(1.0 + seed), picture=40)
    status, error = genmodels("report", "runs", "out=there", "metric=fid_classifier_1k")
    assert (status, error) == (0, "")
    assert sorted(file.name for file in (tmp_path / "there").iterdir()) == ["report.csv", "report.html", "report.md"]
    assert (tmp_path / "runs" / "0" / "results.json").read_text()
    html = (tmp_path / "there" / "report.html").read_text()
    assert "2 runs" in html and "Plotly" in html and not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", html)


def test_where_the_files_go_unless_told(genmodels, tmp_path):
    write_run(tmp_path / "run", config(), results(1.0))
    assert genmodels("report", "run")[0] == 0
    (folder,) = (tmp_path / "outputs" / "report").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", folder.name) and (folder / "report.html").is_file()


def test_a_path_with_an_equals_sign_is_a_path(genmodels, tmp_path):
    write_run(tmp_path / "lr=0.1", config(), results(1.0))
    assert genmodels("report", "lr=0.1", "out=there")[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "no run is given; give run directories"),
        (["out=there"], "no run is given"),
        (["missing"], "missing does not exist; give run directories"),
        (["empty"], "no run was found in empty (empty has no run in it); give folders that genmodels train wrote"),
        (["note.txt"], "no run was found in note.txt (note.txt is a file, not a folder)"),
        (["damaged"], "no run was found in damaged (damaged is refused: it is not valid YAML"),
        (["run", "out=note.txt"], "out=note.txt cannot be a folder, since note.txt is a file; give another"),
        (["run", "out=note.txt/below"], "since note.txt is a file"),
        (["run", "out="], "out= is empty"),
        (["run", "ouy=there"], "there is neither a key ouy nor a file of that name; did you mean out=?"),
        (["run", "--metric=x"], "there is neither a key --metric nor a file of that name; did you mean metric=?"),
        (["run", "zzz=1"], "keys are out=, metric="),
        (["run", "metric=test/fid_classifier_2k"], "did you mean test/fid_classifier_1k?"),
        (["run", "metric=zzz"], "no run has a result metric=zzz; results are test/bits_per_dim, "),
        (["bare", "metric=fid"], "no run has a result metric=fid; results are none"),
    ],
)
def test_wrong_input_is_one_sentence_and_writes_nothing(genmodels, tmp_path, words, sentence):
    write_run(tmp_path / "run", config(), results(1.0))
    write_run(tmp_path / "bare", config())
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "config.yaml").write_text("a: [")
    (tmp_path / "note.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    status, error = genmodels("report", *words)
    assert status == 2 and sentence in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "note.txt").read_text() == "mine"


def test_runs_without_results_are_listed_and_counted_and_have_curves(genmodels, tmp_path):
    write_run(tmp_path / "runs" / "a", config())
    write_run(tmp_path / "runs" / "b", config("gan"), history=[start(), end(status=1)], error_txt="the loss is nan")
    assert genmodels("report", "runs", "out=there")[0] == 0
    html = (tmp_path / "there" / "report.html").read_text()
    assert "<b>2</b> without results" in html and "<b>1</b> failed" in html and "the loss is nan" in html
    assert all("train/loss" in run["curves"] for run in data_in(html)["runs"])


def test_what_is_damaged_is_named_and_counted_in_the_page(tmp_path):
    write_run(tmp_path / "a", config(), results_json="{", metrics_csv="x", picture=40)
    (tmp_path / "a" / "samples" / "last.png").write_bytes(b"no picture")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.yaml").write_text("a: [")
    content = made(tmp_path)
    html = markup(web_page(content))
    assert "<b>4</b> skipped" in html
    for name in ("a/results.json", "a/metrics.csv", "a/samples/last.png", "b"):
        assert f"<code>{tmp_path / name}</code>" in html
    assert str(tmp_path / "a" / "results.json") in appendix(content).replace("\\", "")


EVIL = "</script><script>alert(1)</script>\"'<img src=x onerror=alert(1)>"


def test_all_that_comes_from_a_run_is_escaped(tmp_path):
    settings = config(name=EVIL, baseline=BASELINE | {"system": EVIL, "link": "javascript:alert(1)"})
    settings["data"]["name"] = settings["model"]["_target_"] = EVIL
    evil = record("nll_nats", 1.0, reference=EVIL, **{EVIL: EVIL}) | {"split": EVIL}
    extra = {"error_txt": EVIL, "job_json": json.dumps({"overrides": [f"{EVIL}={EVIL}"]})}
    write_run(
        tmp_path / "a", settings, [evil], metrics_csv=f"images_seen,step,{EVIL.replace(',', '')}\n1,1,2\n", **extra
    )
    content = made(tmp_path)
    html = web_page(content)
    assert data_in(html)["runs"][0]["name"] == EVIL
    assert "alert(1)" in html and "<script>alert" not in html and "<img src=x" not in html
    assert 'href="javascript' not in html
    assert "<img" not in re.sub(r"\\<", "", appendix(content))


def test_numbers_that_are_not_finite_stay_out_of_the_data(tmp_path):
    write_run(tmp_path / "a", config(seed=0), [record("fid_1k", float("nan")), record("kid_1k", float("inf"))])
    write_run(tmp_path / "b", config(seed=1), [record("fid_1k", 3.0), record("kid_1k", 1.0)])
    assert data_in(web_page(made(tmp_path)))["runs"][1]["results"][0]["text"] == "nan"


def test_figures_are_there_where_there_are_data_for_them(tmp_path):
    for family in ("vae", "gan"):
        write_run(tmp_path / family, config(family), results(1.0))
    assert payload(made(tmp_path))["figures"] == {"trilemma": True, "likelihood": True, "steps": False}
    steps = [record("fid_classifier_1k", 9.0 - n, sampler="ddim", sampler_steps=n, **OVER_SAMPLES) for n in (2, 5)]
    write_run(tmp_path / "ddpm", config("diffusion"), steps)
    content = made(tmp_path)
    html = web_page(content)
    assert payload(content)["figures"]["steps"]
    assert 'id="steps"' in html and 'id="trilemma"' in html and "Figures without data" not in html


@pytest.mark.parametrize(
    "bound",
    [
        {"bound": "exact"},
        {"bound": "vlb", "bound_variance": "large", "bound_clip": True},
        {"bound": "elbo", "draws": 5, "dequantization": "uniform"},
        {"bound": "elbo", "first_stage_sha256": "0" * 64},
    ],
)
def test_likelihoods_of_any_bound_are_points_of_one_figure(tmp_path, bound):
    reference = {"reference": "digits/test", "n_reference": 300}
    for family, told in (("vae", {"bound": "elbo", "draws": 1}), ("diffusion", {"draws": 1, **bound})):
        write_run(tmp_path / family, config(family), [record("bits_per_dim", 2.0, **reference, **told)])
    first, second = (point["values"]["test/bits_per_dim"] for point in payload(made(tmp_path))["points"])
    assert first["against"] == second["against"] and {first["bound"], second["bound"]} == {"elbo", bound["bound"]}


@pytest.mark.parametrize("family", TARGETS)
@pytest.mark.parametrize("steps, known", [(10, 10), (None, None), ("10", None), (True, None), (..., None)])
def test_steps_are_what_the_protocol_says_whatever_the_family(tmp_path, family, steps, known):
    said = {} if steps is ... else {"sampler_steps": steps}
    write_run(tmp_path / "a", config(family), [record("fid_1k", 1.0, sampler="mine", **said, **OVER_SAMPLES)])
    (point,) = payload(made(tmp_path))["points"]
    assert (point["sampler"], point["steps"]) == ("mine", known)


def test_one_run_has_no_figures_and_the_page_says_what_they_need(tmp_path):
    write_run(tmp_path / "a", config(), results(1.0))
    html = markup(web_page(made(tmp_path)))
    assert 'id="trilemma"' not in html and "evaluator=[fid,density_coverage,precision_recall,speed]" in html


@pytest.mark.parametrize(
    ("changes", "shown"),
    [({}, "<td>+1</td>"), ({"variant": "50 of 3,000 epochs"}, "50 of 3,000 epochs"), ({"metric": "test/x"}, "not run")],
)
def test_ours_stands_beside_the_papers(tmp_path, changes, shown):
    write_run(tmp_path / "a", config(baseline=BASELINE | changes), results(0.75))
    html = markup(web_page(made(tmp_path)))
    assert "Compared with the papers" in html and 'href="https://example.org/paper"' in html and "-1 … +2" in html
    assert shown in html


@pytest.mark.parametrize("baseline", [{}, "x", BASELINE | {"tolerance": 1}, BASELINE | {"figure": "much"}])
def test_a_baseline_that_cannot_be_read_is_none(tmp_path, baseline):
    write_run(tmp_path / "a", config(baseline=baseline), results(1.0))
    assert made(tmp_path).aims == {}


def test_the_markdown_has_a_row_for_each_group_and_protocols_as_footnotes(tmp_path):
    for seed, quality in enumerate((1.0, 1.2)):
        write_run(tmp_path / str(seed), config(seed=seed), results(quality))
    write_run(
        tmp_path / "wide", config(model={"_target_": "genmodels.models.vae.VAE", "width": "a|b"}), results(3.0)[:1]
    )
    text = appendix(made(tmp_path))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
    assert "| digits_vae | vae | width=32 | 2 | 2.110 ± 0.014[^1] |" in " ".join(text.split()) and "width=a\\|b" in text
    hashed = [record("fid_1k", 1.0, features_sha256="0a" * 32)]
    write_run(tmp_path / "hashed", config("gan"), hashed)
    assert "features_sha256: 0a0a0a0a0a0a" in appendix(made(tmp_path))
    (note,) = (line for line in text.splitlines() if line.startswith("[^1]:"))
    assert "bound: elbo" in note and "digits/test" in note and "seed" not in note


def test_the_csv_has_a_row_for_each_record(tmp_path):
    evil = record("fid_1k", 1.0, note="=cmd()", features_accuracy={"train": 1.0}, sampler_steps=None)
    write_run(tmp_path / "a", config(seed=4), [*results(1.0), evil])
    rows = list(csv.DictReader(csv_table(made(tmp_path)).splitlines()))
    assert len(rows) == 7
    first = rows[0]
    assert (first["name"], first["dataset"], first["family"], first["model"]) == ("digits_vae", "digits", "vae", "VAE")
    assert (first["seed"], first["metric"], first["split"], float(first["value"])) == ("4", "bits_per_dim", "test", 2.1)
    assert first["protocol.bound"] == "elbo" and first["std"] == ""
    assert rows[-1]["protocol.note"] == "'=cmd()" and rows[-1]["protocol.features_accuracy"] == '{"train": 1.0}'


@pytest.mark.slow
def test_curves_keep_their_ends_and_peaks():
    points = [(float(i), 0.0) for i in range(10_000)]
    points[4321] = (4321.0, 50.0)
    points[4322] = (4322.0, -50.0)
    few = thin(points, 100)
    assert len(few) <= 100 and few[0] == points[0] and few[-1] == points[-1]
    assert {points[4321], points[4322]} <= set(few) and few == sorted(few)
    assert thin(points[:50], 100) == points[:50]
    rising = [(float(i), float(i)) for i in range(1000)]
    for curves, most in ((3, 400), (10_000, 40)):
        (few,) = thinned({Run("a"): {str(i): rising for i in range(curves)}}).values()
        assert {len(points) for points in few.values()} == {most}
    assert as_columns([(100.0, 1.23456789)]) == {"x": [100.0], "y": [1.23457]}


@pytest.mark.slow
def test_pictures_are_made_smaller_the_more_there_are(tmp_path):
    write_run(tmp_path / "a", config(), picture=700)
    grid = last_grid(tmp_path / "a")
    assert as_urls({0: grid})[0].startswith("data:image/")
    urls = as_urls(dict.fromkeys(range(60), grid))
    assert sum(map(len, urls.values())) * 3 / 4 <= OF_PAGE_BYTES
    assert as_urls({}) == {} and last_grid(tmp_path) is None


def test_words():
    assert [duration(s) for s in (None, 5.4, 124, 61_500)] == ["unknown", "5 s", "2.1 min", "17.1 h"]
    assert in_short(OVER_SAMPLES) == "reference digits/train, n_reference 1297, features classifier"
    assert (
        in_short({"bound": "iwae", "draws": 50, "reference": "mnist/test"})
        == "bound iwae, draws 50, reference mnist/test"
    )


@pytest.mark.parametrize(
    "command", ["report RUN", "list", "train --help", pytest.param("reproduce --check", marks=pytest.mark.slow)]
)
def test_what_computes_nothing_does_not_wait_for_torch(command, run_dir, tmp_path):
    code = "import sys; from genmodels.cli.main import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    words = [str(run_dir) if word == "RUN" else word for word in command.split()]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "False", done.stdout + done.stderr
