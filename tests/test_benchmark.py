"""genmodels benchmark: every work is there twice, and its table says how they compare."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import loading, peers, processes, sampling, timing, unet
from benchmarks.pair import Pair
from benchmarks.pairs import PAIRS
from benchmarks.timing import timed
from benchmarks.training import training
from benchmarks.works import CUDA, WORKS
from genmodels.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def tables(monkeypatch):
    """The tables that are printed, after one round of short works."""
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(loading, "LOADED", 256)
    shown = []
    monkeypatch.setattr("genmodels.console.console.print", shown.append)
    return shown


def clock_of(*times):
    return SimpleNamespace(perf_counter=iter(times).__next__)


def cells(table):
    return [next(column.cells) for column in table.columns]


def run_once(pair):
    pair.plain()(), pair.ours()()


def test_every_work_that_is_named_can_be_timed():
    assert list(WORKS) == list(PAIRS)


def test_a_ratio_is_how_many_times_as_fast_ours_is(monkeypatch):
    monkeypatch.setattr(timing, "time", clock_of(0, 1, 1, 2, 2, 8, 8, 10))  # after a warm-up 6 s for the plain way, 2 s
    assert timed(Pair(12, lambda: list, lambda: list, rounds=1), "cpu") == ["2.0/s", "6.0/s", "3.00 x"]


def test_a_ratio_is_the_median_of_interleaved_rounds(monkeypatch):
    plain, ours = iter([1.0, 8.0, 1.0, 9.0]), iter([1.0, 4.0, 1.0, 1.0])
    pair = Pair(1, lambda: plain.__next__, lambda: ours.__next__, rounds=3, unit="MiB")
    assert timed(pair, "cpu") == ["8 MiB", "1 MiB", "2.00 x"]


def test_a_slow_rate_is_not_shown_as_none():
    assert Pair(16, list, list).shown(1000.0) == "0.016/s"


def test_a_work_is_timed(genmodels, tables):
    assert genmodels("benchmark", "loading")[0] == 0
    (table,) = tables
    assert table.row_count == 1 and [column.header for column in table.columns][-2:] == ["ratio", "goal"]
    assert cells(table)[1].endswith("/s") and cells(table)[3].endswith(" x")


def test_a_peer_that_is_not_installed_is_named(genmodels, tables, monkeypatch):
    monkeypatch.setattr(timing, "find_spec", lambda name: None)
    assert genmodels("benchmark", "vae_pythae")[0] == 0
    assert cells(tables[0])[1] == "not installed: pip install pythae"


def test_help_names_the_works_and_the_peers(capsys):
    assert timing.run(["--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("usage: genmodels benchmark") and all(name in said for name in WORKS)
    assert "pip install " + " ".join(sorted({work.peer for work in WORKS.values() if work.peer})) in said


@pytest.mark.parametrize("word", ["trainings", "xyzzy"])
def test_an_unknown_work_is_refused(genmodels, word):
    status, said = genmodels("benchmark", word)
    assert status == 2 and f"there is no work {word} to be timed" in said


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--device", "tpu"], "--device got tpu, expected one of cpu, cuda"),
        (["vae", "--device"], "--device got nothing, expected one of cpu, cuda"),
        (["--devise=cuda"], "there is no flag --devise; choices are --device, --help"),
        (["startup", "--device=cuda"], "startup is timed on the CPU only"),
        (["vae", "--device", "cuda"], "--device cuda needs a GPU that PyTorch can use, and there is none"),
    ],
)
def test_a_wrong_device_is_refused(genmodels, monkeypatch, words, reason):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, said = genmodels("benchmark", *words)
    assert status == 2 and reason in said


def test_by_default_a_gpu_times_what_can_be_timed_there(monkeypatch):
    named = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(timing, "show", lambda names, device: named.extend(names))
    timing.run(["--device=cuda"])
    assert {"vae", "memory"} < set(named) and "startup" not in named
    assert all(CUDA in WORKS[name].goals for name in named)


def test_both_ways_train():
    run_once(training("model=vae_mlp", slower=("optimizer.fused=false",), cpu=2)(CPU))


def test_a_plain_lightning_module_trains(monkeypatch):
    monkeypatch.setattr(peers, "STEPS", {"cpu": 2})
    run_once(peers.beside("lightning")(CPU))


def test_pythae_trains(monkeypatch):
    pytest.importorskip("pythae")
    monkeypatch.setattr(peers, "STEPS", {"cpu": 2})
    run_once(peers.beside("pythae")(CPU))


def test_a_file_has_the_rows_of_the_memmap(monkeypatch):
    monkeypatch.setattr(loading, "LOADED", 256)
    run_once(loading.mapped(CPU))


def test_the_naive_loop_is_as_long_as_all_its_passes(monkeypatch):
    passes = []
    monkeypatch.setattr(sampling, "time", clock_of(0, 3))
    space = SimpleNamespace(code=SimpleNamespace(shape=(2, 32, 32)))
    model = SimpleNamespace(space=space, network=lambda x, context: passes.append(len(x)) or x)
    assert sampling.pass_for_each_value(model, CPU)() == 3 * 1024  # 2 of 2,048 passes take 3 s
    assert passes == [16, 16]


def test_matmuls_take_their_time_for_as_many_operations(monkeypatch):
    monkeypatch.setattr(unet, "SIDE", {"cpu": 64})
    monkeypatch.setattr(unet, "time", clock_of(0, 5))
    a = torch.ones(64, 64)
    assert unet.as_matmuls(lambda: lambda: a @ a, CPU, torch.float32)() == 5 / unet.PRODUCTS


def test_networks_of_another_size_are_refused():
    unet.require_size(unet.our_unet()[0])
    with pytest.raises(UserError, match="Linear has 2 parameters, expected 35,746,307"):
        unet.require_size(nn.Linear(1, 1))


def test_diffusers_network_is_as_large():
    pytest.importorskip("diffusers")
    unet.require_size(unet.diffusers_unet()[0])


def test_a_peak_of_memory_is_that_of_the_process_alone():
    held = bytearray(300 * 2**20)  # by the process that starts the other one
    assert 100 < processes.peak_of("x = bytearray(100 * 2**20)") < 200 < len(held)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["startup", "memory", "evaluation", "sampler"])
def test_a_work_can_be_timed(name):
    run_once(PAIRS[name](CPU))
