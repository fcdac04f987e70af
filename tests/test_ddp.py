"""Two processes that share a batch step as one process that has it all, for every family: the same gradients.

In float64, where they agree to 1e-9 of the gradient's norm; in float32 rounding alone is 1e-6 of it.
"""

import os
from functools import partial
from unittest import mock

import pytest
import torch
from torch.distributed.elastic.utils.distributed import get_free_port
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.overrides import TorchFunctionMode

from genmodels.engine import build
from genmodels.folds import Folds
from genmodels.nn.flows.batch_norm import BatchNorm
from genmodels.nn.layers.batch_norm import BatchNorm2d
from genmodels.training import hooks, module
from genmodels.training.sharding import whole
from tests.helpers import train_config

pytestmark = pytest.mark.slow

DCGAN = ["model=dcgan", "model.generator.width=8", "model.discriminator.width=8"]
WGAN_GP = ["model/adversarial=wasserstein", "model.gradient_penalty=10", "model.discriminator.normalization=none"]
CLIP = ["trainer.gradient_clip_val=0.5"]
GLOW = ["model.bijections.glow.width=8"]
CASES = {
    "vae": ["model=vae", "model.encoder.width=8", "model.decoder.width=8"],
    "iwae": ["model=vae_mlp", "model/objective=importance_weighted", "model.objective.draws=3"],
    "realnvp": [
        "model=realnvp",
        "model.bijections.realnvp.width=8",
        "model.bijections.realnvp.multipliers=[1,1]",
        *CLIP,
    ],
    "ddpm": ["model=ddpm", "model.network.width=8", "model.network.dropout=0"],
    "pixelcnn": [
        "model=pixelcnn",
        "model.network.width=8",
        "model.network.dropout=0",
        "trainer.accumulate_grad_batches=2",
    ],
    "ddpm, sharded": ["model=ddpm", "model.network.width=8", "model.network.dropout=0", *CLIP],
    "dcgan": [*DCGAN, "model/conditioner=label"],
    "dcgan, accumulated and clipped": [
        *DCGAN,
        "trainer.accumulate_grad_batches=2",
        "trainer.gradient_clip_val=0.01",
        "model.discriminator_steps=2",
    ],
    "wgan_gp": [*DCGAN, *WGAN_GP, "model.discriminator_steps=2"],
    "wgan": ["model=wgan", *DCGAN[1:], "model.discriminator_steps=2"],
    "cyclegan": [
        "model=cyclegan",
        "data=domains",
        "model.to_first.width=4",
        "model.of_first.width=4",
        "model.to_first.blocks=1",
        "model.pool=40",
    ],
    "glow, initialised from the first batch": ["model=glow", "model.bijections.glow.couplings=1", *GLOW],
    "nice": ["model=nice", "model.bijections.nice.widths=[16,16]"],
    "tarflow": ["model=tarflow", "model.bijections.tarflow.width=16", "model.bijections.tarflow.layers=1"],
    "flowpp": [
        "model=flowpp",
        "model.bijections.flowpp.width=8",
        "model.bijections.flowpp.blocks=1",
        "model.bijections.flowpp.couplings=[1,1,1]",
        "model.space.noise.width=8",
        "model.space.noise.couplings=1",
    ],
}
STEPS = 2
IMAGES = 5 + torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class SharedNoise(TorchFunctionMode):
    """Every process draws for the global batch and takes the part that belongs to its images; all is float64."""

    LIKE = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}

    def __init__(self, rank: int, world_size: int):
        super().__init__()
        self.rank, self.world_size = rank, world_size

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.Tensor.float:
            return args[0].double()
        if function in self.LIKE:
            x, function = args[0], self.LIKE[function]
            args, kwargs = tuple(x.shape), {"dtype": x.dtype, "device": x.device, **kwargs}
        if function not in (torch.randn, torch.rand, torch.randint):
            return function(*args, **kwargs)
        before, (n, *others) = (args[:-1], args[-1]) if isinstance(args[-1], tuple) else ((), args)
        return function(*before, (n * self.world_size, *others), **kwargs)[self.rank :: self.world_size]


def initialise(noise, *args):
    """As it is, where every process has the whole batch and draws for all of it."""
    rank, world_size = noise.rank, noise.world_size
    noise.rank, noise.world_size = 0, 1
    hooks.initialise(*args)
    noise.rank, noise.world_size = rank, world_size


def without_rank(seed, position):
    """`Folds`, with the same noise of a step for every process."""
    return Folds(seed, lambda pos: (*position(pos)[:-1], 0))


def gradients(folder, world_size, rank):
    """What the optimizers were given in each step of each case; and the weights, EMA and statistics after them."""
    given = {}
    torch.set_default_dtype(torch.float64)
    for number, (case, overrides) in enumerate(CASES.items()):
        taken = given[case] = []

        def take(optimizer, args, kwargs, taken=taken):
            taken.append([whole(p.grad).clone() for group in optimizer.param_groups for p in group["params"]])

        strategy = "cpu" if world_size == 1 else "fsdp" if case == "ddpm, sharded" else "ddp"
        where = [f"trainer={strategy}", "trainer.accelerator=cpu", f"trainer.devices={world_size}"]
        length = [f"trainer.max_steps={STEPS}", "callbacks=none", "logger=none"]
        config = train_config(folder / str(number), *where, *length, *overrides)
        trainer = build.trainer(config, {})
        training = build.training(config, build.model(config, fresh=True), build.instance(config["data"]), trainer)
        hook = register_optimizer_step_post_hook(take)
        noise = SharedNoise(rank, world_size)
        with mock.patch.multiple(module, Folds=without_rank, initialise=partial(initialise, noise)), noise:
            trainer.fit(training.double())
        hook.remove()
        trainer.save_checkpoint(file := folder / f"{world_size}.ckpt")
        taken.append(list(torch.load(file, weights_only=True)["state_dict"].values()))
    torch.set_default_dtype(torch.float32)
    return given


def normalized(x, norm):
    """Images after batch norm under bfloat16, and the running statistics."""
    with torch.autocast("cpu", torch.bfloat16):
        return norm(x.bfloat16()).detach(), norm.running_mean, norm.running_var, norm.eval()(x).detach()


def through_flow(x):
    """Images after a flow's batch norm with ladj and moments; and the gradient of their weighted sum."""
    norm, x = BatchNorm(shape=x.shape[1:], standing_batches=1).double(), x.double().requires_grad_()
    z, ladj = norm(x)
    (z**3 + ladj[:, None, None, None]).sum().backward()
    return z.detach(), ladj.detach(), x.grad, norm.m.expand(len(x), 3), norm.v.expand(len(x), 3)


def in_process(rank, folder, port):
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    cases, images = gradients(folder, 2, rank), IMAGES[rank::2]
    cases |= {"bf16": normalized(images, BatchNorm2d(3)), "flow": through_flow(images)}
    torch.save(cases, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """From one process, and from each of two."""
    folder = tmp_path_factory.mktemp("ddp")
    arguments = (folder, get_free_port())
    two = torch.multiprocessing.start_processes(in_process, arguments, nprocs=2, join=False, start_method="spawn")
    one = gradients(folder, 1, 0)
    while not two.join():
        pass
    return one, [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_one_process(case, found):
    one, two = found
    assert len(two[0][case]) == len(one[case]) > STEPS
    for mine, other, expected in zip(two[0][case], two[1][case], one[case], strict=True):
        assert all(map(torch.equal, mine, other))
        assert distance(mine, expected) <= 1e-9 * distance(expected) > 0


def test_batch_norm_under_bfloat16_has_float32_statistics(found):
    expected = normalized(IMAGES, torch.nn.BatchNorm2d(3))
    for rank, process in enumerate(found[1]):
        images, *statistics, in_eval_mode = process["bf16"]
        torch.testing.assert_close(images, expected[0][rank::2], atol=2e-2, rtol=0)
        torch.testing.assert_close(statistics, list(expected[1:3]))
        torch.testing.assert_close(in_eval_mode, expected[3][rank::2])


def test_batch_norm_of_a_flow_has_the_moments_of_all_images(found):
    for rank, process in enumerate(found[1]):
        for mine, of_one in zip(process["flow"], through_flow(IMAGES), strict=True):
            torch.testing.assert_close(mine, of_one[rank::2])


def test_batch_norm_of_one_process_is_torchs():
    assert BatchNorm2d(3).state_dict().keys() == torch.nn.BatchNorm2d(3).state_dict().keys()
    assert all(map(torch.equal, normalized(IMAGES, BatchNorm2d(3)), normalized(IMAGES, torch.nn.BatchNorm2d(3))))


def distance(tensors, others=None):
    """Euclidean, over all numbers together; from the origin where there are no others."""
    pairs = zip(tensors, others or map(torch.zeros_like, tensors), strict=True)
    return sum((a.double() - b.double()).square().sum().item() for a, b in pairs) ** 0.5
