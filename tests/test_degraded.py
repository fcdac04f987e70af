"""data=degraded: copies by hand, beside their images in every split and every batch, and what has no such copy."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from genmodels.config import compose as _resolvers  # noqa: F401
from genmodels.config.shipped import CONFIGS
from genmodels.data.base import Data
from genmodels.data.degraded import brightness, downscaled
from genmodels.data.loader import Loader
from genmodels.errors import UserError
from genmodels.fields import Field
from tests.helpers import epoch
from tests.test_data import mnist  # noqa: F401  a fixture

ConfigStore.instance().store(name="only_data", node={})


def degraded(*overrides: str) -> Data:
    """The dataset that the command line would build."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = compose("only_data", ["+data=degraded", *overrides])
    try:
        return instantiate(OmegaConf.to_container(cfg, resolve=True)["data"], _convert_="all")
    except InstantiationException as error:
        raise error.__cause__ or error from None


def test_the_copy_of_each_image_is_its_condition() -> None:
    data = degraded("data.batch_size=32")
    assert (data.name, data.batch_size, data.classes) == ("digits_downscaled", 32, 10)
    assert data.condition == {"label": Field("label", (), 10), "image": Field("image", (1, 4, 4), 17)}
    plain = degraded("data.factor=4").source
    for name in ("train", "val", "test"):
        split = data.split(name)
        assert split.x.equal(plain.split(name).x) and split.condition["label"].equal(
            plain.split(name).condition["label"]
        )
        averages = split.x.float().unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
        assert (split.condition["image"] - averages).abs().max() <= 0.5
    assert data.fingerprint("test") != plain.fingerprint("test")


def test_averages_are_rounded_up_at_a_half() -> None:
    x = torch.tensor([[[[0, 1, 2, 3], [0, 1, 3, 3]]]], dtype=torch.uint8)
    assert downscaled(x, 2).tolist() == [[[[1, 3]]]]  # 0.5 and 2.75
    wide = torch.full((1, 1, 2, 2), 30000, dtype=torch.int16)
    assert downscaled(wide, 2).tolist() == [[[[30000]]]]


def test_grey_is_as_pillow_has_it() -> None:
    x = torch.randint(256, (20, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for image, found in zip(x, brightness(x), strict=True):
        wanted = Image.fromarray(image.permute(1, 2, 0).numpy()).convert("L")
        assert found[0].tolist() == torch.tensor(list(wanted.getdata())).view(6, 5).tolist()


def batches(data: Data) -> list[tuple[torch.Tensor, dict]]:
    loader = Loader(
        split=data.training_split(),
        visit=data.visit,
        batch_size=16,
        seed=0,
        rank=0,
        world_size=1,
        device=torch.device("cpu"),
    )
    return epoch(loader)


def test_copies_are_mirrored_with_their_images() -> None:
    seen, plain = batches(degraded("data.source.flip=true")), batches(degraded())
    for (x, condition), (unchanged, _) in zip(seen, plain, strict=True):
        assert condition["image"].equal(downscaled(x, 2)) and condition["label"].shape == (16,)
        assert not x.equal(unchanged)


def test_copies_are_of_images_that_are_binarized_anew(mnist: Path) -> None:  # noqa: F811
    places = [f"data.source.root={mnist}", "data.source.verify=false", "data.source.n_validation=10"]
    data = degraded("data@data.source=mnist_dynamic", *places)
    assert data.split("test").condition["image"].max() == 1
    for x, condition in batches(data):
        assert x.max() == 1 and condition["image"].equal(downscaled(x, 2))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["data.factor=3"], "data.factor is 3, expected at least 2 and a divisor of 8 and 8"),
        (["data.factor=1"], "data.factor is 1"),
        (["data.factor=0"], "data.factor is 0"),
        (["data.degradation=grey"], "images in colour, and these have 1 channel"),
        (["data.condition.image.shape=[1,2,2]"], r"says image \[1, 2, 2\].* are image \[1, 4, 4\]"),
        (
            ["data@data.source=npz", "data.source.shape=[2]", "data.source.levels=null", "data.source.path=a"],
            "no images",
        ),
    ],
)
def test_what_has_no_such_copy_is_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        degraded(*overrides)
