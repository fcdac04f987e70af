"""Every model of configs/model/ keeps the contract of the capabilities that it has, on the data that it takes.

One class of tests a capability; a model that lacks it is left out, whatever it is. A model says by itself (`can`) what
it can do, and by a UserError what it does not take.
"""

from copy import deepcopy
from functools import cache

import pytest
import torch
from hydra.errors import ConfigCompositionException
from torch import Tensor, nn

from genmodels.capabilities import (
    Compresses,
    Denoises,
    Encodes,
    FollowsClock,
    HasLikelihood,
    HasLoss,
    HasPlayers,
    Initialises,
    Samples,
    Translates,
    can,
)
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.seeds import ByNumber, seeded
from tests.helpers import CONFIGS, build_model

MODELS = sorted(file.stem for file in (CONFIGS / "model").glob("*.yaml"))
DATA = {
    "digits": Field("image", (1, 8, 8), 17),
    "colour": Field("image", (3, 8, 8), 256),
    "points": Field("points", (5,), None),
    "tokens": Field("tokens", (16,), 11),
}
SMALL = {
    "ddpm": ["model.process.schedule.steps=20", "sampler.steps=5", "model.network.channels=16"],
    "edm": ["sampler.steps=5", "model.network.channels=16"],
    "flow_matching": ["sampler.steps=5", "model.network.channels=16"],
    "pixelcnn": ["model.network.width=8"],
    "pixelcnnpp": ["model.network.width=8", "model.network.layers=1"],
    "transformer": ["model.network.width=32", "model.network.layers=2"],
    "glow": ["model.bijections.glow.steps=2", "model.bijections.glow.width=16"],
    "vampprior": ["model.prior.components=20"],
}
LABEL = "model/conditioner=label"
CANCEL = {"wgan": ("head.bias",)}  # a constant of the critic cancels in D(G(z)) - D(x)


@cache
def build(name: str, data: str, *overrides: str) -> nn.Module:
    """The model as a command would make it, to be copied and not to be changed."""
    field = DATA[data]
    facts = {"shape": field.shape, "levels": field.levels, "classes": 2 if name == "cyclegan" else 10}
    return build_model(name, *SMALL.get(name, []), *overrides, **facts)


def fresh(name: str, data: str, *overrides: str) -> nn.Module:
    """A model of one's own, with what it takes from data taken, and weights away from zero initializations."""
    model = deepcopy(build(name, data, *overrides))
    if isinstance(model, Initialises):
        with seeded(11):
            model.initialise(*batch(data))
    jiggle(model)
    return model


def jiggle(model: nn.Module) -> None:
    """Moves weights away from zero initializations, behind which no gradient arrives."""
    with seeded(3), torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))


@cache
def taken(name: str) -> tuple[str, ...]:
    """The data that a model takes, by what it says itself."""
    return tuple(data for data in DATA if takes(name, data))


def takes(name: str, data: str, *overrides: str) -> bool:
    try:
        build(name, data, *overrides)
    except (UserError, ConfigCompositionException):  # the latter: its YAML has no conditioner to choose
        return False
    return True


def batch(data: str, n: int = 6) -> tuple[Tensor, dict[str, Tensor]]:
    field, generator = DATA[data], torch.Generator().manual_seed(0)
    x = torch.randn(n, *field.shape, generator=generator)
    if field.levels is not None:
        x = torch.randint(field.levels, (n, *field.shape), generator=generator).to(field.dtype)
    return x, {"label": torch.arange(n) % 2}


def same(a: Tensor, b: Tensor) -> bool:
    """Equal, or, of points, to the last bits, which follow the batch size."""
    return torch.allclose(a, b, rtol=1e-9, atol=1e-9) if a.is_floating_point() else torch.equal(a, b)


CASES = [(name, data, ()) for name in MODELS for data in taken(name)]
CASES += [(name, taken(name)[0], (LABEL,)) for name in MODELS if takes(name, taken(name)[0], LABEL)]


def those_that(capability: type) -> pytest.MarkDecorator:
    """One case for every model with the capability, on each kind of data and given a label."""
    cases = [case for case in CASES if can(build(case[0], case[1], *case[2]), capability)]
    return parametrized(cases)


def parametrized(cases: list[tuple]) -> pytest.MarkDecorator:
    """Colour images are the slow cases: grey ones are taken by the same models."""
    ids = ["-".join([name, data, *(["label"] if overrides else [])]) for name, data, overrides in cases]
    marks = [[pytest.mark.slow] if data == "colour" else [] for _, data, _ in cases]
    params = [pytest.param(*case, marks=mark, id=i) for case, mark, i in zip(cases, marks, ids, strict=True)]
    return pytest.mark.parametrize(("name", "data", "overrides"), params)


def test_every_model_takes_some_data_and_can_do_something():
    for name in MODELS:
        assert taken(name), f"{name} takes nothing"
        model = build(name, taken(name)[0])
        assert isinstance(model, HasLoss | HasPlayers), f"{name} cannot be trained"


@pytest.mark.parametrize("name", MODELS)
def test_what_a_model_does_not_take_it_refuses_in_a_sentence(name):
    """Everything else than a UserError would be a fault, which `build` lets through."""
    for data in set(DATA) - set(taken(name)):
        with pytest.raises(UserError) as refused:
            build(name, data)
        assert len(str(refused.value)) > 20


def losses_of(model: nn.Module, x: Tensor, condition: dict[str, Tensor]) -> list[tuple[list[nn.Module], dict]]:
    """What is moved by each loss, and the loss's terms."""
    if isinstance(model, HasLoss):
        return [([model], model.loss(x, condition))]
    return [(list(player.modules), player.loss(x, condition)) for player in model.players()]


class TestTraining:
    every = parametrized(CASES)

    @every
    def test_losses_reach_every_weight(self, name, data, overrides):
        model = fresh(name, data, *overrides)
        x, condition = batch(data)
        players = model.players() if isinstance(model, HasPlayers) else []
        for modules, loss in [(p.modules, p.loss) for p in players] or [([model], model.loss)]:
            model.zero_grad()
            terms = loss(x, condition)
            assert all(term.shape == (len(x),) and term.isfinite().all() for term in terms.values())
            terms["loss"].mean().backward()
            weights = [(key, p) for module in modules for key, p in module.named_parameters() if p.requires_grad]
            missed = {key for key, p in weights if p.grad is None or not p.grad.any()}
            assert missed <= set(CANCEL.get(name, ())), f"no gradient reaches {missed}"

    @every
    def test_players_share_no_weight(self, name, data, overrides):
        model = build(name, data, *overrides)
        if isinstance(model, HasPlayers):
            owned = [id(p) for player in model.players() for m in player.modules for p in m.parameters()]
            assert len(owned) == len(set(owned)), "two players move the same weight"
            assert set(owned) == {id(p) for p in model.parameters() if p.requires_grad}, "nobody moves a weight"

    @every
    def test_trains_in_bfloat16(self, name, data, overrides):
        model = fresh(name, data, *overrides)
        with torch.autocast("cpu", torch.bfloat16):
            losses = losses_of(model, *batch(data))
        for _, terms in losses:
            assert all(term.isfinite().all() and term.dtype == torch.float32 for term in terms.values())
            terms["loss"].mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())

    @those_that(FollowsClock)
    def test_the_clock_alone_decides(self, name, data, overrides):
        from genmodels.capabilities import Clock

        one, other = (fresh(name, data, *overrides) for _ in range(2))
        one.at(Clock(1, 10, 100))
        for model in (one, other):
            model.at(Clock(7, 70, 100))
        x, condition = batch(data)
        terms = []
        for model in (one, other):
            with seeded(1):
                terms.append([t["loss"] for _, t in losses_of(model, x, condition)])
        assert all(torch.equal(a, b) for a, b in zip(*terms, strict=True))


class TestState:
    @pytest.mark.parametrize("name", MODELS)
    def test_state_travels(self, name):
        data = taken(name)[0]
        model = fresh(name, data)
        loaded = deepcopy(build(name, data))
        loaded.load_state_dict(model.state_dict())
        x, condition = batch(data)
        terms = []
        for each in (model, loaded):
            with seeded(5):
                terms.append([t["loss"] for _, t in losses_of(each.eval(), x, condition)])
        assert all(torch.equal(a, b) for a, b in zip(*terms, strict=True))


def in_batches(model: nn.Module, size: int, n: int = 6, seed: int = 1) -> Tensor:
    """Samples number 0..n-1, drawn `size` at a time."""
    ranges = [(first, min(size, n - first)) for first in range(0, n, size)]
    return torch.cat([model.sample(count, rng=ByNumber(seed, first, count)) for first, count in ranges])


class TestSamples:
    @those_that(Samples)
    def test_samples_are_data(self, name, data, overrides):
        model, field = fresh(name, data, *overrides).eval(), DATA[data]
        with seeded(1):
            x = model.sample(3)
        assert x.dtype == field.dtype and x.shape == (3, *field.shape)
        assert x.isfinite().all() and (field.levels is None or int(x.max()) < field.levels)
        assert not x.requires_grad
        with seeded(1):
            assert torch.equal(model.sample(3), x)
        with seeded(2):
            assert not torch.equal(model.sample(3), x)

    @those_that(Samples)
    def test_a_sample_does_not_depend_on_those_it_is_drawn_with(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        model.double()  # a convolution's last bits follow the batch size; in float64 no pixel notices
        state = torch.get_rng_state()
        together = in_batches(model, 6)
        for size in (2, 4):
            assert same(in_batches(model, size), together)
        assert torch.equal(torch.get_rng_state(), state), "all that is drawn comes from rng"
        assert len(together.unique(dim=0)) == 6
        assert not torch.equal(in_batches(model, 6, seed=2), together)

    @those_that(Samples)
    def test_its_protocol_names_every_setting_of_its_sampler(self, name, data, overrides):
        model = build(name, data, *overrides)
        protocol = model.sampling_protocol()
        assert model.sampler is not None, "a model of ours has a sampler"
        assert protocol["sampler"] == type(model.sampler).__name__.lower()
        assert {f"sampler_{key}" for key in vars(model.sampler)} <= protocol.keys()

    @those_that(Samples)
    def test_it_refuses_samplers_of_another_kind(self, name, data, overrides):
        from genmodels.engine.build import part
        from genmodels.samplers.direct import Direct
        from tests.helpers import compose_model

        model = fresh(name, data, *overrides)
        other = "ddim" if isinstance(model.sampler, Direct) else "direct"
        sampler = part(compose_model("vae", sampler=other).sampler)
        with pytest.raises(UserError, match="cannot be sampled by"):
            model.use(sampler)

    @those_that(Samples)
    def test_conditions_matter_where_it_has_some(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        assert set(model.condition) == ({"label"} if overrides else set())
        outputs = []
        for label in (0, 1):
            with seeded(6):
                outputs.append(model.sample(4, {"label": torch.full((4,), label)}))
        assert torch.equal(*outputs) != bool(overrides)


class TestLikelihood:
    @those_that(HasLikelihood)
    def test_it_is_that_of_the_data(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        x, condition = batch(data)
        with seeded(1):
            log_prob = model.log_prob(x, condition)
        assert log_prob.shape == (6,) and log_prob.dtype in (torch.float32, torch.float64)
        assert not log_prob.requires_grad and log_prob.isfinite().all()
        assert DATA[data].levels is None or (log_prob < 0).all(), "a probability of integers is below 1"
        assert model.bound in ("exact", "elbo", "vlb")
        assert set(model.condition) == ({"label"} if overrides else set())

    @those_that(HasLikelihood)
    def test_draws_are_independent_estimates_of_one_number(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        x, condition = batch(data)
        with seeded(1):
            draws = model.log_prob(x, condition, draws=3)
        assert draws.shape == (3, 6) and draws.isfinite().all()
        assert torch.equal(draws[0], draws[1]) == (model.bound == "exact")

    @those_that(HasLikelihood)
    def test_what_are_no_samples_is_refused(self, name, data, overrides):
        model, field = fresh(name, data, *overrides).eval(), DATA[data]
        x, condition = batch(data)
        assert tuple(model.x.shape) == field.shape and model.x.levels == field.levels
        wrong = [x[..., :-1], x[0], x[:, None], x.bool()]
        wrong += (
            [x.long()] if field.levels is None else [x.float(), x.float() / 255, x.long() - 1, x.long() + field.levels]
        )
        for samples in wrong:
            with pytest.raises(UserError, match="got samples of .*, expected those of the data: "):
                model.log_prob(samples, condition)

    @those_that(HasLikelihood)
    def test_a_condition_that_is_missing_or_of_another_shape_is_refused(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        x, condition = batch(data)
        if not overrides:
            with seeded(7):
                without = model.log_prob(x)
            with seeded(7):
                assert torch.equal(model.log_prob(x, condition), without), "an unconditional model heeds no label"
            return
        with pytest.raises(UserError, match="conditional on label"):
            model.log_prob(x)
        with pytest.raises(UserError, match="shape"):
            model.log_prob(x, {"label": condition["label"][:3]})


class TestEncodes:
    @those_that(Encodes)
    def test_codes_decode(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        x, condition = batch(data)
        with seeded(8):
            decoded = model.decode(model.encode(x, condition), condition)
        assert decoded.dtype == x.dtype and decoded.shape == x.shape

    @those_that(Compresses)
    def test_a_first_stage_says_what_its_codes_are(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        x, _ = batch(data)
        with seeded(8), torch.no_grad():
            code, correction = model.compress(x)
            back = model.decompress(code)
        assert tuple(code.shape) == (6, *model.code.shape) and correction.shape == (6,)
        assert model.code.levels is None or (code.dtype == model.code.dtype and int(code.max()) < model.code.levels)
        assert back.dtype == x.dtype and back.shape == x.shape


class TestDenoises:
    @those_that(Denoises)
    def test_films_end_with_a_sample(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        with seeded(9):
            frames = list(model.film(2))
        with seeded(9):
            sample = model.sample(2)
        assert len(frames) >= 5 and torch.equal(frames[-1].estimate, sample)
        *_, last = model.film(2, rng=ByNumber(0, 0, 2))
        assert torch.equal(last.estimate, model.sample(2, rng=ByNumber(0, 0, 2)))

    @those_that(Denoises)
    def test_films_show_the_noise(self, name, data, overrides):
        """It is neither cut to black and white nor grey, and there is ever less of it."""
        first, *_, last = fresh(name, data, *overrides).eval().film(8)
        top = DATA[data].levels - 1
        assert first.noisy.dtype == last.noisy.dtype == DATA[data].dtype
        assert ((first.noisy == 0) | (first.noisy == top)).float().mean() < 0.05
        assert 0.25 < first.noisy.float().std() / (top / 2) < 0.4
        assert first.level.sigma / first.level.alpha > last.level.sigma / last.level.alpha


class TestTranslates:
    @those_that(Translates)
    def test_translations_are_data(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        x, _ = batch(data)
        with torch.no_grad():
            y = model.translate(x, 0, 1)
        assert y.dtype == x.dtype and y.shape == x.shape and not torch.equal(y, x)
        assert not torch.equal(model.translate(x, 1, 0), y)
