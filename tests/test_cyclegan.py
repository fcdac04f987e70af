"""CycleGAN: its losses as formulae, domains that do not mix, the pool of fakes, the data of two domains."""

import pytest
import torch
from torch import Tensor, nn

from genmodels.capabilities import Samples, Translates, can
from genmodels.config.compose import compose_config, resolved
from genmodels.data.base import Data
from genmodels.engine import build
from genmodels.errors import UserError
from genmodels.models.cyclegan import CycleGAN
from genmodels.nn.gan.cyclegan import PatchDiscriminator, Pool, ResNetGenerator
from genmodels.parts.adversarial import LeastSquares
from genmodels.parts.spaces import Pixels
from tests.helpers import build_model

SMALL = [f"model.{part}.width=4" for part in ("to_first", "of_first")]
DOMAIN = torch.tensor([0, 1, 1, 0, 0, 1])


def images(n: int = 6) -> Tensor:
    return torch.randint(17, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


class Affine(nn.Module):
    def __init__(self, scale: float, shift: float):
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x + self.shift


class MeanLogit(nn.Module):
    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x.mean(1)


def by_hand(**changes: object) -> CycleGAN:
    """With networks whose outputs are plain formulae."""
    parts = {"to_first": Affine(0.5, 0.1), "to_second": Affine(-1.0, 0.2)}
    parts |= {"of_first": MeanLogit(2.0), "of_second": MeanLogit(-3.0)}
    settings = {"domains": 2, "adversarial": LeastSquares(), "cycle": 10.0, "identity": 0.5, "pool": 0}
    return CycleGAN(space=Pixels(shape=[1, 8, 8], levels=17), **parts, **settings | changes)


def test_the_generators_loss_is_its_formula():
    x = images()
    terms, u = by_hand().generator_loss(x, {"label": DOMAIN}), x.double() / 8 - 1
    for i, domain in enumerate(DOMAIN.tolist()):
        g, f = [(lambda v: -v + 0.2), (lambda v: 0.5 * v + 0.1)][:: 1 if domain == 0 else -1]
        d = -3.0 if domain == 0 else 2.0
        adversarial, cycle = ((d * g(u[i]) - 1) ** 2).mean(), (f(g(u[i])) - u[i]).abs().mean()
        identity = (f(u[i]) - u[i]).abs().mean()
        torch.testing.assert_close(terms["loss"][i].double(), adversarial + 10 * cycle + 5 * identity)


def test_the_discriminators_loss_is_its_formula():
    x = images()
    terms, u = by_hand().discriminator_loss(x, {"label": DOMAIN}), x.double() / 8 - 1
    for i, domain in enumerate(DOMAIN.tolist()):
        real, other, fake = (2.0, -3.0, -u[i] + 0.2) if domain == 0 else (-3.0, 2.0, 0.5 * u[i] + 0.1)
        expected = (((real * u[i] - 1) ** 2) + (other * fake) ** 2).mean() / 2
        torch.testing.assert_close(terms["loss"][i].double(), expected)


def cyclegan(*overrides: str) -> CycleGAN:
    return build_model("cyclegan", *SMALL, *overrides, classes=2)


def test_a_sample_does_not_depend_on_the_others_and_a_domain_may_be_missing():
    model, x = cyclegan().eval(), images()
    for player in model.players():
        whole = player.loss(x, {"label": DOMAIN})["loss"]
        first = player.loss(x[DOMAIN == 0], {"label": DOMAIN[DOMAIN == 0]})["loss"]
        torch.testing.assert_close(whole[DOMAIN == 0], first)


def test_each_players_loss_reaches_all_that_is_its_own():
    model, x = cyclegan(), images()
    for player in model.players():
        model.zero_grad()
        player.loss(x, {"label": DOMAIN})["loss"].mean().backward()
        weights = [p for module in player.modules for p in module.parameters() if p.ndim > 1]
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)
    assert all(p.grad is None for p in [*model.to_first.parameters(), *model.to_second.parameters()])


def test_it_translates_and_does_not_sample():
    model, x = cyclegan().eval(), images()
    assert can(model, Translates) and not can(model, Samples)
    y = model.translate(x, 0, 1)
    assert y.shape == x.shape and y.dtype == x.dtype and torch.equal(model.translate(x, 1, 1), x)
    assert torch.equal(model.translate(x[:2], 0, 1), y[:2])
    with pytest.raises(UserError, match="target is domain 2"):
        model.translate(x, 0, 2)


def test_what_it_cannot_be_trained_on_is_refused():
    with pytest.raises(UserError, match=r"data.classes is 10"):
        build_model("cyclegan", classes=10)
    with pytest.raises(UserError, match="needs the domain of each sample"):
        cyclegan().generator_loss(images(), {})


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("halvings", [1, 2])
def test_networks_fit_images_of_any_size(size, halvings):
    x = torch.rand(2, 3, size, size)
    facts = {"shape": [3, size, size], "width": 4, "halvings": halvings}
    y = ResNetGenerator(**facts, blocks=1)(x)
    assert y.shape == x.shape and y.abs().max() <= 1
    assert PatchDiscriminator(**facts)(x).shape == (2, size // 2**halvings, size // 2**halvings)


def test_networks_refuse_what_they_would_halve_away():
    with pytest.raises(UserError, match="3 halvings"):
        ResNetGenerator(shape=[1, 8, 8], width=4, halvings=3, blocks=1)
    with pytest.raises(UserError, match="takes images"):
        PatchDiscriminator(shape=[5], width=4, halvings=1)


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1)


def test_the_pool_fills_first_and_gives_everything_back():
    pool, ours = Pool((1, 1, 1), 3), torch.tensor([True, False, True])
    assert torch.equal(pool(numbered(1, 2, 3), ours), numbered(1, 2, 3))
    assert int(pool.filled) == 2 and pool.images.flatten().tolist() == [1, 3, 0]
    pool(numbered(4, 5, 6), ~ours)
    assert int(pool.filled) == 3 and pool.images.flatten().tolist() == [1, 3, 5]


def test_a_full_pool_gives_an_earlier_image_half_of_the_time():
    """Every image that comes is given out or kept, and none twice: numbers neither vanish nor double."""
    torch.manual_seed(0)
    pool, every, kept = Pool((1, 1, 1), 8), torch.ones(4, dtype=torch.bool), 0
    pool(numbered(*range(8)), torch.ones(8, dtype=torch.bool))
    given = set(range(8)) - set(map(int, pool.images.flatten().tolist()))
    for start in range(8, 4008, 4):
        new = numbered(*range(start, start + 4))
        out = pool(new, every)
        given |= set(map(int, out.flatten().tolist()))
        kept += int((out != new).sum())
    assert given | set(map(int, pool.images.flatten().tolist())) == set(range(4008))
    assert given.isdisjoint(map(int, pool.images.flatten().tolist()))
    assert 0.38 < kept / 4000 < 0.5  # half, but for places that two of a batch have drawn


def test_the_pool_rests_in_eval_mode():
    pool = Pool((1, 1, 1), 2).eval()
    assert torch.equal(pool(numbered(1, 2), torch.ones(2, dtype=torch.bool)), numbered(1, 2)) and pool.filled == 0


# The data


def domains(*overrides: str) -> Data:
    config = resolved(compose_config("train", ["run_dir=x", "name=x", "data=domains", *overrides]))
    return build.instance(config["data"])


def test_domains_of_the_same_images_share_them():
    data, digits = domains(), build.instance(resolved(compose_config("train", ["run_dir=x", "name=x"]))["data"])
    for split in ("train", "val", "test"):
        (x, condition), source = data.split(split), digits.split(split).x
        first, second = x[condition["label"] == 0], 16 - x[condition["label"] == 1]
        assert len(first) + len(second) == len(source) and abs(len(first) - len(second)) <= 1
        assert sorted(map(bytes, torch.cat([first, second]).numpy())) == sorted(map(bytes, source.numpy()))
    assert data.fingerprint("train") == domains().fingerprint("train")


def test_other_images_are_taken_whole():
    data = domains("data.domains.second.source.split_seed=1", "data.domains.second.change=rotated")
    x, condition = data.split("train")
    assert len(x) == 2 * 1297
    source = data.domains["second"].source.split("train").x
    rotated = x[condition["label"] == 1].rot90(-1, (2, 3))
    assert sorted(map(bytes, rotated.contiguous().numpy())) == sorted(map(bytes, source.numpy()))


def test_coloured_images_have_one_hue_each():
    data = domains("data.shape=[3,8,8]", "data.domains.second.change=coloured")
    x, condition = data.split("train")
    grey, tinted = x[condition["label"] == 0], x[condition["label"] == 1].float()
    assert (grey == grey[:, :1]).all()
    brightest = tinted.flatten(2).amax(2)
    assert (brightest.amax(1) == tinted.flatten(1).amax(1)).all() and (brightest.amin(1) <= 1).float().mean() > 0.9
    assert len({round(float(b[0] - b[1])) for b in brightest}) > 10


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        (["data@data.domains.second.source=fashion_mnist"], r"the domain second has samples of shape \[1, 28, 28\]"),
        (["data.domains.second.change=coloured"], r"cannot be coloured in grey; set data.shape=\[3,8,8\]"),
        (["data.classes=3"], "there are 2 domains"),
        (["data.shape=[3,8,8]", "data.levels=256"], "levels=17, expected"),
    ],
)
def test_domains_that_do_not_fit_are_refused(overrides, sentence):
    with pytest.raises(Exception, match=sentence):
        domains(*overrides)
