"""The page in a real browser: 100 runs, nothing asked of a network, nothing complained of, and all of it works."""

import shutil
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from genmodels.cli.report import report
from tests.synthetic_runs import OVER_SAMPLES, TARGETS, config, record, results, write_results, write_run

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (Debian: apt install chromium)")
FAMILIES = list(TARGETS)


def hundred_runs(folder: Path) -> None:
    """5 families on 2 datasets with 2 learning rates and 5 seeds; some went wrong, one was sampled in several ways."""
    for i in range(100):
        family, dataset, seed = FAMILIES[i % 5], ("digits", "mnist")[i // 50], i // 10 % 5
        optimizer = {"_target_": "torch.optim.Adam", "lr": (0.001, 0.0002)[i // 5 % 2]}
        quality = 1 + FAMILIES.index(family) + seed / 10 + i // 5 % 2
        settings = config(family, seed, dataset, optimizer=optimizer)
        write_run(folder / f"{i:03d}", settings, results(quality), rows=400, picture=300)
    (folder / "097" / "results.json").unlink()
    (folder / "097" / "error.txt").write_text("the loss is nan at step 7; lower optimizer.lr")
    (folder / "098" / "results.json").write_text('{"version": 0, "results": []}')
    (folder / "099" / "history.jsonl").write_text("")
    ddim = [{"sampler": "ddim", "sampler_steps": steps} for steps in (20, 5, 2)]
    records = [record("fid_classifier_1k", 50 / way["sampler_steps"], **way, **OVER_SAMPLES) for way in ddim]
    write_results(folder / "003", [*results(2.0)[:2], *records])


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, float]:
    """The page, and the processor's seconds that it took."""
    folder = tmp_path_factory.mktemp("hundred")
    hundred_runs(folder / "runs")
    began = time.process_time()
    report([folder / "runs"], out=str(folder / "out"), metric=None)
    return folder / "out" / "report.html", time.process_time() - began


def test_a_hundred_runs_take_less_than_ten_seconds_and_fifteen_megabytes(built):
    file, seconds = built
    assert seconds < 10
    assert file.stat().st_size < 15e6


@pytest.fixture(scope="module")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def opened_once(browser, built) -> Iterator:
    """The page, and what it complains of or asks a network for."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda asked: said.append(asked.url) if asked.url[:5] not in ("file:", "data:", "blob:") else None
    )
    page.goto(built[0].as_uri())
    page.wait_for_selector("#steps .js-plotly-plot .points path.point", state="attached")
    yield page, said
    page.close()


@pytest.fixture
def opened(opened_once):
    """The page as it opens."""
    page, said = opened_once
    page.evaluate("""() => {
      document.getElementById("dialog").close();
      document.getElementById("filters").reset();
      document.getElementById("log").checked = false;
      document.querySelector("input[name=axis][value=images]").checked = true;
      filter();
    }""")
    yield page
    assert said == []


def column(page, heading: str) -> list[str]:
    """The shown cells under a heading of the first table."""
    return page.evaluate(
        """(heading) => {
          const headers = [...document.querySelectorAll("#table thead th")];
          const at = headers.findIndex((th) => (th.dataset.metric || th.textContent.trim()) === heading);
          const rows = [...document.querySelectorAll("#table tbody tr:not([hidden])")];
          return rows.map((row) => row.children[at].dataset.value ?? row.children[at].textContent.trim());
        }""",
        heading,
    )


def traces(page, plot: str) -> list[dict]:
    return page.evaluate(
        "(id) => (document.getElementById(id).data || []).map(({name, x, y}) => ({name, x: [...x], y: [...y]}))",
        plot,
    )


@needs_chromium
def test_the_page_opens_with_everything_in_it(opened):
    assert opened.locator("#table tbody tr").count() == 102  # one run was sampled in three ways
    counts = opened.locator(".counts").inner_text()
    for words in ("98 finished", "1 failed", "1 unfinished", "2 without results", "1 skipped"):
        assert words in counts.replace("\n", " ")
    assert "098/results.json" in opened.locator("#skipped").inner_text()
    assert "the loss is nan at step 7" in opened.locator("td.status.failed").inner_text()
    assert opened.locator("#samples figure").count() == 100
    for plot in ("curves-plot", "panel-1", "panel-2", "panel-3", "likelihood-plot", "steps-plot"):
        assert traces(opened, plot), plot
    assert opened.evaluate("document.documentElement.scrollWidth") <= 1280


@needs_chromium
def test_numbers_sort_as_numbers_and_runs_without_one_come_last(opened):
    header = opened.locator('#table th[data-metric="test/samples_per_second"] button')
    for descending in (True, False):  # the best first
        header.click()
        found = column(opened, "test/samples_per_second")
        numbers = [float(text) for text in found if text]
        assert numbers == sorted(numbers, reverse=descending) and len(numbers) == 97
        assert found[-5:] == [""] * 5
    opened.locator("#table thead button", has_text="family").click()
    assert column(opened, "family") == sorted(column(opened, "family"))


@needs_chromium
def test_filters_act_on_tables_curves_grids_and_figures(opened):
    opened.select_option("#dataset", "mnist")
    assert set(column(opened, "dataset")) == {"mnist"} and opened.locator("#shown").inner_text() == "50 of 100 shown"
    assert opened.locator("#samples figure:visible").count() == 50
    assert opened.locator("#seeds tbody tr:visible").count() == 10
    assert opened.locator("#trilemma .of-dataset").input_value() == "mnist"
    opened.select_option("#family", "gan")
    assert set(column(opened, "family")) == {"gan"} and len(traces(opened, "curves-plot")) == 10
    assert {trace["name"] for trace in traces(opened, "panel-1")} == {"gan"}
    opened.fill("#name", "lr=0.001")
    assert len(column(opened, "run")) == 5
    opened.fill("#name", "no such run")
    assert column(opened, "run") == [] and "Nothing to draw" in opened.locator("#curves-plot").inner_text()
    opened.fill("#name", "")
    assert len(column(opened, "run")) == 10 and len(traces(opened, "curves-plot")) == 10


@needs_chromium
def test_the_best_among_those_shown_is_marked(opened):
    def best() -> list[str]:
        return opened.eval_on_selector_all(
            "#table td.best:visible",
            "cells => cells.map((cell) => cell.closest('tr').querySelector('.folder').textContent)",
        )

    assert set(best()) >= {"000", "050"}  # one in each dataset
    opened.select_option("#family", "gan")
    assert "000" not in best() and best()


@needs_chromium
def test_the_best_is_marked_among_numbers_that_may_be_compared_only(browser, tmp_path):
    """Two bounds, two columns, none the best; a user's own metric by its own mode, ways of sampling in rows."""
    elbo = {"reference": "digits/test", "n_reference": 300, "draws": 1}
    for name, bound, sharpness in (("a", "elbo", 0.134), ("b", "exact", 0.948)):
        sampled = [
            record("fid_1k", 7.0 - eta - sharpness, sampler="ddim", sampler_eta=eta, **OVER_SAMPLES)
            for eta in (0.0, 1.0)
        ]
        found = [record("nll_nats", 9.0, bound=bound, **elbo), record("sharpness", sharpness, mode="max"), *sampled]
        write_run(tmp_path / name, config("flow" if name == "b" else "vae"), found)
    report([tmp_path], out=str(tmp_path / "out"), metric=None)
    page = browser.new_page()
    page.goto((tmp_path / "out" / "report.html").as_uri())
    best = page.eval_on_selector_all("#table td.best", "cells => cells.map((cell) => cell.dataset.value)")
    assert sorted(best) == ["0.948", "0.948", "5.052"]  # of the two rows of b, and of one of them
    assert "bound elbo" in page.locator("#table thead").inner_text()
    assert page.locator("#table tbody tr", has_text="sampler_eta=1.0").count() == 2
    page.locator('#table th[data-metric="test/sharpness"] button').click()
    assert [text for text in column(page, "test/sharpness") if text][0] == "0.948"
    page.close()


@needs_chromium
def test_a_click_shows_the_whole_protocol(opened):
    cell = opened.locator('button.open[data-metric="test/fid_classifier_1k"]').first
    assert "reference: digits/train" in cell.get_attribute("title")
    cell.click()
    told = opened.locator("#dialog")
    assert told.is_visible()
    assert "features" in told.inner_text() and "digits/train" in told.inner_text() and "1297" in told.inner_text()
    opened.keyboard.press("Escape")
    assert not told.is_visible()
    opened.locator("button.open", has_text="digits_vae").first.click()
    assert "0123456789ab" in told.inner_text() and "test/density_classifier_1k" in told.inner_text()
    told.locator("button.close").click()
    opened.locator("#samples button.enlarge").first.click()
    assert told.locator("img").is_visible()


@needs_chromium
def test_curves_change_their_metric_axis_and_scale(opened):
    opened.select_option("#curve", "val/nll_nats")
    by_images = traces(opened, "curves-plot")
    assert len(by_images) == 100 and max(by_images[0]["x"]) == 20_000
    opened.check("input[name=axis][value=time]")
    by_time = traces(opened, "curves-plot")
    assert len(by_time) == 99 and max(by_time[0]["x"]) == pytest.approx(60)
    assert "1 without such a time left out" in opened.locator("#curves-note").inner_text()
    opened.check("#log")
    assert opened.evaluate("document.getElementById('curves-plot').layout.yaxis.type") == "log"


@needs_chromium
def test_the_figures_show_what_was_measured(opened):
    opened.select_option("#dataset", "digits")
    low, high = opened.evaluate("document.getElementById('panel-1').layout.yaxis.range")
    assert low > high  # a low FID is up
    assert len(traces(opened, "panel-1")) == 10
    lines = [trace for trace in traces(opened, "steps-plot") if len(trace["x"]) > 1]
    assert [(line["x"], line["y"]) for line in lines] == [([2, 5, 20], [25, 10, 2.5])]
    assert "features classifier" in opened.locator("#trilemma .caveat").inner_text()


SHOWN_LABELS = """(id) => [...document.querySelectorAll(`#${id} .textpoint text`)]
  .filter((text) => text.textContent && text.style.visibility !== "hidden").map((text) => text.getBoundingClientRect())
  .map(({left, right, top, bottom}) => [left, right, top, bottom])"""


@needs_chromium
@pytest.mark.parametrize("width", [400, 1280])
def test_labels_of_points_cover_no_other(browser, built, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(built[0].as_uri())
    page.wait_for_selector("#steps .js-plotly-plot .points path.point", state="attached")
    for plot in ("panel-1", "panel-2", "panel-3", "likelihood-plot", "steps-plot"):
        boxes = page.evaluate(SHOWN_LABELS, plot)
        pairs = list(combinations(boxes, 2))
        assert boxes, plot
        assert not any(a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3] for a, b in pairs), plot
    page.close()


@needs_chromium
def test_a_curve_of_one_point_is_a_marker_that_lies_upon_the_others(browser, tmp_path):
    for name, rows in (("one", 1), ("many", 20)):
        write_run(tmp_path / name, config(name=name), rows=rows)
    report([tmp_path], out=str(tmp_path / "out"), metric=None)
    page = browser.new_page()
    page.goto((tmp_path / "out" / "report.html").as_uri())
    page.wait_for_selector("#curves .js-plotly-plot .points path.point", state="attached")
    sizes = page.eval_on_selector_all(
        "#curves-plot .scatterlayer .trace",
        "traces => traces.map((trace) => [...trace.querySelectorAll('path.point')].map((p) => p.getBBox().width))",
    )
    assert [len(of_trace) for of_trace in sizes] == [20, 1] and sizes[1][0] >= 8
    page.close()


@needs_chromium
def test_the_head_of_a_table_is_not_empty_on_a_telephone(browser, built):
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.goto(built[0].as_uri())
    head, words = page.evaluate("""() => ["tr", "th button"].map((of) => {
      const box = document.querySelector("#table thead " + of).getBoundingClientRect();
      return [box.top, box.height];
    })""")
    assert words[0] - head[0] < 10 and head[1] < 2.5 * words[1]
    page.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone(browser, built, scheme):
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    page.goto(built[0].as_uri())
    page.wait_for_selector("#curves .js-plotly-plot")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(20, 23, 27)"
    assert dark == (scheme == "dark")
    page.close()
