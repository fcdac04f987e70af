"""genmodels check: a model that keeps its contract, and what is said of one that does not."""

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests.helpers import exit_status
from tests.pages import README

MODEL = "_target_: {module}.Pixels\nshape: ${{data.shape}}\nlevels: ${{data.levels}}\n"
UNUSED = ("super().__init__()", "super().__init__(); self.spare = nn.Parameter(torch.ones(2))")
WRONG_TYPE = (".to(torch.uint8)", "")
OWN_DRAWS = (
    "rng.categorical(self.logits.expand(n, *self.logits.shape))",
    "torch.randint(2, (n, *self.logits.shape[:-1]))",
)
NO_PROBABILITY = ("self.logits.log_softmax(-1)", "(self.logits - 1)")
FORGETFUL = (
    'return {"loss": -self.log_prob(x)}',
    "self.steps = getattr(self, 'steps', 0) + 1; return {'loss': -self.log_prob(x) * self.steps}",
)
UNSAVED = ("super().__init__()", "super().__init__(); self.bias = torch.randint(99, (levels,))")
RAISES = ("return each.flatten(1).sum(1)", "raise ZeroDivisionError('no pixels')")
SHAPELESS = (".flatten(1).sum(1)", ".flatten(1).sum()")


@pytest.fixture
def checked(tmp_path, monkeypatch, capsys):
    """Checks README's own model with changes to its text: (exit status, the lines by what they are about, stderr)."""

    def run(module: str, *changes: tuple[str, str]) -> tuple[int, dict[str, str], str]:
        text = README.files["mine.py"]
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / f"{module}.py").write_text(text)
        (tmp_path / "c" / "model").mkdir(parents=True)
        (tmp_path / "c" / "model" / "own.yaml").write_text(MODEL.format(module=module))
        monkeypatch.syspath_prepend(tmp_path)
        before = {*tmp_path.rglob("*")}
        monkeypatch.chdir(tmp_path)
        GlobalHydra.instance().clear()
        status, said = exit_status(["check", "model=own", "data=digits", "--config-dir", "c"]), capsys.readouterr()
        assert {file for file in tmp_path.rglob("*") if "__pycache__" not in file.parts} == before
        return status, {line[9:30].strip(): line for line in said.out.splitlines()}, said.err

    return run


def test_a_model_that_keeps_its_contract(checked):
    status, lines, err = checked("keeps")
    assert (status, err) == (0, "")
    assert all(line.startswith("ok") for line in lines.values()), lines
    assert lines.keys() >= {"gradients", "sum of probabilities", "seeds of samples", "training and resume", "export"}


def test_a_model_that_is_wrong_in_five_ways_is_told_each(checked):
    status, lines, err = checked("wrong", UNUSED, WRONG_TYPE, OWN_DRAWS, NO_PROBABILITY, FORGETFUL)
    assert status == 2 and "5 of 8 checks failed" in err
    told = {name: line for name, line in lines.items() if line.startswith("failed")}
    assert "no gradient reaches spare" in told["gradients"]
    assert "is of torch.int64, expected torch.uint8" in told["samples"]
    assert "must come from rng" in told["seeds of samples"]
    assert "sum to" in told["sum of probabilities"] and "expected 1" in told["sum of probabilities"]
    assert "a resumed run differs in logits:" in told["training and resume"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "change", "name", "sentence"),
    [
        ("raises", RAISES, "log_prob", "ZeroDivisionError: no pixels (%s/raises.py, line "),
        ("shapeless", SHAPELESS, "log_prob", "log_prob has shape [] for 6 samples, expected one value for each"),
        ("unsaved", UNSAVED, "export", "save all that decides them with the weights"),
    ],
)
def test_what_else_can_be_wrong(checked, tmp_path, module, change, name, sentence):
    more = [("self.logits.expand(n,", "(self.logits + self.bias).expand(n,")] if change is UNSAVED else []
    status, lines, _ = checked(module, change, *more)
    assert status == 2 and lines[name].startswith("failed") and sentence.replace("%s", str(tmp_path)) in lines[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["model=pixelcnn", "model.network.width=8"], ["model=vae", "model/conditioner=label"]]
)
def test_ours_keep_it_too(genmodels, words):
    assert genmodels("check", "data=digits", *words) == (0, "")
