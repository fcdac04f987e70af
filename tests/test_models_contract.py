"""Every model of configs/model/ keeps the contract of the capabilities that it has, on the data that it takes.

One class of tests a capability; a model that lacks it is left out, whatever it is. A model says by itself (`can`) what
it can do, and by a UserError what it does not take.
"""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch
from hydra.errors import ConfigCompositionException
from torch import Tensor, nn

from genmodels.capabilities import (
    Completes,
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
from genmodels.engine import contract
from genmodels.engine.contract import Held, in_batches, jiggle, losses_of, objectives
from genmodels.errors import UserError
from genmodels.fields import Field
from genmodels.seeds import seeded
from tests.helpers import CONFIGS, build_model

MODELS = sorted(file.stem for file in (CONFIGS / "model").glob("*.yaml"))
DATA = {
    "digits": Field("image", (1, 8, 8), 17),
    "colour": Field("image", (3, 8, 8), 256),
    "points": Field("points", (5,), None),
    "tokens": Field("tokens", (16,), 11),
}
SMALL = {
    "ddpm": ["model.process.schedule.steps=20", "sampler.steps=5", "model.network.width=16"],
    "cnf": ["model.network.width=16"],
    "edm": ["sampler.steps=5", "model.network.width=16"],
    "flow_matching": ["sampler.steps=5", "model.network.width=16"],
    "pixelcnn": ["model.network.width=8"],
    "pixelcnnpp": ["model.network.width=8", "model.network.blocks=1"],
    "pixelsnail": ["model.network.width=8", "model.network.layers=1", "model.network.blocks=1"],
    "transformer": ["model.network.width=32", "model.network.layers=2"],
    "wavenet": ["model.network.width=8", "model.network.layers=4"],
    "glow": ["model.bijections.glow.couplings=2", "model.bijections.glow.width=16"],
    "spline_flow": ["model.bijections.couplings.couplings=2", "model.bijections.couplings.width=16"],
    "spline_flow_ar": ["model.bijections.autoregressive.layers=2", "model.bijections.autoregressive.width=16"],
    "planar_flow": ["model.bijections.planar.layers=4"],
    "radial_flow": ["model.bijections.radial.layers=4"],
    "nice": ["model.bijections.nice.widths=[32,32]"],
    "tarflow": ["model.bijections.tarflow.width=16", "model.bijections.tarflow.layers=1"],
    "flowpp": [
        "model.bijections.flowpp.width=8",
        "model.bijections.flowpp.blocks=1",
        "model.bijections.flowpp.couplings=[1,1,1]",
        "model.bijections.flowpp.components=3",
        "model.space.noise.width=8",
    ],
    "vampprior": ["model.prior.components=20"],
    "made": ["model.network.widths=[40]", "model.network.masks=2", "model/network/order=shuffled"],
    "nade": ["model.network.width=20"],
}
LABEL = "model/conditioner=label"


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
    jiggle(model, by=0.1)
    return model


def held(name: str, data: str, overrides: tuple[str, ...] = ()) -> Held:
    """Such a model with a few samples, as `genmodels check` holds it to its contract."""
    x, condition = batch(data)
    return Held(model=fresh(name, data, *overrides), x=x, condition=condition, fields=DATA[data])


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


CASES = [(name, data, ()) for name in MODELS for data in taken(name)]
CASES += [(name, taken(name)[0], (LABEL,)) for name in MODELS if takes(name, taken(name)[0], LABEL)]


def those_that(capability: type) -> pytest.MarkDecorator:
    """One case for every model with the capability, on each kind of data and given a label."""
    cases = [case for case in CASES if can(build(case[0], case[1], *case[2]), capability)]
    return parametrized(cases)


def parametrized(cases: list[tuple]) -> pytest.MarkDecorator:
    """Colour images are the slow cases, since grey ones are taken by the same models; so are models with labels."""
    ids = ["-".join([name, data, *(["label"] if overrides else [])]) for name, data, overrides in cases]
    slow = [data == "colour" or bool(given) for _, data, given in cases]
    marks = [[pytest.mark.slow] if each else [] for each in slow]
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


class TestTraining:
    every = parametrized(CASES)

    @every
    def test_losses_reach_every_weight(self, name, data, overrides):
        assert not [*contract.losses(held(name, data, overrides))]
        assert not [*contract.gradients(held(name, data, overrides))]

    @every
    def test_players_share_no_weight(self, name, data, overrides):
        assert not [*contract.players(held(name, data, overrides))]

    @every
    def test_trains_in_bfloat16(self, name, data, overrides):
        given = held(name, data, overrides)
        with torch.autocast("cpu", torch.bfloat16):
            losses = [loss(given.x, given.condition) for _, _, loss in objectives(given.model)]
        for terms in losses:
            assert all(term.isfinite().all() and term.dtype == torch.float32 for term in terms.values())
            terms["loss"].mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in given.model.parameters())

    @those_that(FollowsClock)
    def test_the_clock_alone_decides(self, name, data, overrides):
        from genmodels.capabilities import Clock

        one, other = (held(name, data, overrides) for _ in range(2))
        one.model.at(Clock(1, 10, 100))
        for each in (one, other):
            each.model.at(Clock(7, 70, 100))
        assert_same_losses(one, other)


class TestState:
    @pytest.mark.parametrize("name", MODELS)
    def test_state_travels(self, name):
        one = held(name, taken(name)[0])
        other = replace(one, model=deepcopy(build(name, taken(name)[0])))
        other.model.load_state_dict(one.model.state_dict())
        one.model.eval(), other.model.eval()
        assert_same_losses(one, other)


def assert_same_losses(one: Held, other: Held) -> None:
    losses = []
    for each in (one, other):
        with seeded(5):
            losses.append(losses_of(each.model, each))
    assert torch.equal(*losses)


class TestSamples:
    @those_that(Samples)
    def test_samples_are_data(self, name, data, overrides):
        given = held(name, data, overrides)
        assert not [*contract.samples(given)]
        outcomes = []
        for seed in (1, 2):
            with seeded(seed):
                outcomes.append(given.model.sample(3))
        assert not torch.equal(*outcomes)

    @those_that(Samples)
    def test_a_sample_does_not_depend_on_those_it_is_drawn_with(self, name, data, overrides):
        given = held(name, data, overrides)
        assert not [*contract.independence(given)]
        together = in_batches(given.model, 6, 6, 1, {})
        assert len(together.unique(dim=0)) == 6
        assert not torch.equal(in_batches(given.model, 6, 6, 2, {}), together)

    @those_that(Samples)
    def test_its_protocol_names_every_setting_of_its_sampler(self, name, data, overrides):
        model = build(name, data, *overrides)
        protocol = model.sampling_protocol()
        assert model.sampler is not None, "a model of ours has a sampler"
        assert protocol["sampler"] == type(model.sampler).__name__.lower()
        assert {f"sampler_{key}" for key in vars(model.sampler)} <= protocol.keys()

    @those_that(Samples)
    def test_it_refuses_samplers_of_another_kind(self, name, data, overrides):
        from genmodels.engine.build import instance
        from genmodels.samplers.direct import Direct
        from tests.helpers import compose_model

        model = fresh(name, data, *overrides)
        other = "ddim" if isinstance(model.sampler, Direct) else "direct"
        sampler = instance(compose_model("vae", sampler=other).sampler)
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
        given = held(name, data, overrides)
        assert not [*contract.likelihood(given)]
        with seeded(1):
            assert not given.model.log_prob(given.x, given.condition).requires_grad
        assert set(given.model.condition) == ({"label"} if overrides else set())

    @those_that(HasLikelihood)
    def test_draws_are_independent_estimates_of_one_number(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        x, condition = batch(data)
        with seeded(1):
            draws = model.log_prob(x, condition, draws=3)
        assert draws.shape == (3, 6) and draws.isfinite().all()
        deterministic = model.bound == "exact" or model.likelihood_protocol().get("bound_trace") == "exact"
        assert torch.equal(draws[0], draws[1]) == deterministic

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


class TestCompletes:
    @those_that(Completes)
    def test_it_keeps_what_is_given_and_scores_the_rest(self, name, data, overrides):
        assert not [*contract.completion(held(name, data, overrides))]

    @those_that(Completes)
    def test_more_than_there_is_cannot_be_given(self, name, data, overrides):
        model, (x, condition) = fresh(name, data, *overrides).eval(), batch(data)
        for given in (-1, model.sites + 1):
            with pytest.raises(UserError, match=f"given is {given} for samples of {model.sites} sites"):
                model.complete(x, given, condition)


class TestEncodes:
    @those_that(Encodes)
    def test_codes_decode(self, name, data, overrides):
        assert not [*contract.codes(held(name, data, overrides))]

    @those_that(Compresses)
    def test_a_first_stage_says_what_its_codes_are(self, name, data, overrides):
        assert not [*contract.compression(held(name, data, overrides))]


class TestDenoises:
    @those_that(Denoises)
    def test_films_end_with_a_sample(self, name, data, overrides):
        model = fresh(name, data, *overrides).eval()
        with seeded(9):
            frames = list(model.film(2))
        with seeded(9):
            sample = model.sample(2)
        assert len(frames) >= 5 and torch.equal(frames[-1].estimate, sample)
        assert not [*contract.films(held(name, data, overrides))]

    @those_that(Denoises)
    def test_films_show_the_noise(self, name, data, overrides):
        """It is neither cut to black and white nor grey, and there is ever less of it."""
        first, *_, last = fresh(name, data, *overrides).eval().film(8)
        top = (DATA[data].levels or 3) - 1  # real numbers: as those on [-1, 1]
        assert first.noisy.dtype == last.noisy.dtype == DATA[data].dtype
        assert ((first.noisy == 0) | (first.noisy == top)).float().mean() < 0.05
        assert 0.25 < first.noisy.float().std() / (top / 2) < 0.4
        assert first.level.sigma / first.level.alpha > last.level.sigma / last.level.alpha


class TestTranslates:
    @those_that(Translates)
    def test_translations_are_data(self, name, data, overrides):
        given = held(name, data, overrides)
        assert not [*contract.translations(given)]
        with torch.no_grad():
            there, back = given.model.translate(given.x, 0, 1), given.model.translate(given.x, 1, 0)
        assert not torch.equal(there, back)
