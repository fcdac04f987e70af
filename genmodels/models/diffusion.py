"""Diffusion models and flow matching: a network that removes Gaussian noise from data.

A process (`genmodels.parts.processes`) makes x_t = alpha x_0 + sigma eps; a parametrization computes the estimate
D(x_t) = c_skip x_t + c_out F(c_in x_t, c_noise) of x_0 from the network's output F; times and weighting define the loss

    E over t and eps of  weighting (F - F*)²,      F* = (x_0 - c_skip x_t)/c_out.

DDPM (Ho, Jain & Abbeel 2020, https://arxiv.org/abs/2006.11239), EDM (Karras et al. 2022,
https://arxiv.org/abs/2206.00364) and flow matching (Lipman et al. 2023, https://arxiv.org/abs/2210.02747) differ only
in these parts, and every sampler (`genmodels.samplers`) works with all of them.
"""

from collections import deque
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genmodels.capabilities import (
    NO_CONDITION,
    Batch,
    Condition,
    Denoiser,
    Denoises,
    HasLikelihood,
    HasLoss,
    Level,
    Moment,
    Protocol,
    Sampler,
    Samples,
    Terms,
)
from genmodels.context import Conditioner, Context
from genmodels.errors import UserError
from genmodels.fields import require_samples
from genmodels.parts.guidance import clipped, guided
from genmodels.parts.parametrizations import Coefficients, Parametrization
from genmodels.parts.processes import Process, column
from genmodels.parts.scorers import Scorer
from genmodels.parts.spaces import RealCode, Space
from genmodels.parts.times import Times
from genmodels.parts.weightings import Guess, Weighting
from genmodels.samplers.base import DenoisingSampler
from genmodels.seeds import GLOBAL, Random

SEEN = 3  # standard deviations of noise that a film can show; more is clipped


class Diffusion(nn.Module, HasLoss, Samples, HasLikelihood, Denoises):
    """A denoiser for all noise levels, and a sampler that goes through them."""

    bound = "vlb"
    samplers = (DenoisingSampler,)
    sampler: DenoisingSampler
    origin: Tensor  # holds the device

    def __init__(
        self,
        *,
        space: Space,
        process: Process,
        parametrization: Parametrization,
        times: Times,
        weighting: Weighting,
        network: nn.Module,  # net(c_in x_t, c_noise, context): (b, *code), (b,), Context -> F (b, *code)
        conditioner: Conditioner,
        scorer: Scorer | None,  # null: no likelihood
        sampler: Sampler,
    ):
        super().__init__()
        check_parts(process, parametrization, times, weighting)
        self.space, self.process, self.parametrization = space, process, parametrization
        self.x = space.x
        self.times, self.weighting, self.scorer = times, weighting, scorer
        self.network = network
        self.conditioner = conditioner
        self.condition = conditioner.fields
        self.lacks: dict[type, str] = {}
        if scorer is None:
            self.lacks[HasLikelihood] = "this model has no scorer (model.scorer is null)"
        else:
            scorer.check(space)
            self.bound = scorer.bound
        self.register_buffer("origin", torch.zeros(()), persistent=False)
        self.use(sampler)

    # --- training and scoring

    def loss(self, x: Batch, condition: Condition = NO_CONDITION) -> Terms:
        """The weighted loss at one random time per sample; `simple` is the error of F without a weight."""
        x0, _ = self.space.encode(x)
        context = self.conditioner(self.conditioner.given(condition, len(x0)))
        t = self.times.draw(self.process, len(x0), x0.device)
        eps = torch.randn_like(x0)
        level = self.process.level(t)
        wide = Level(column(level.alpha, x0), column(level.sigma, x0))
        x_t = wide.alpha * x0 + wide.sigma * eps
        output, c = self.output(x_t, level, t, context)
        guess = Guess(
            x0=x0,
            estimate=affine(c, x_t, output),
            output=output,
            target=self.parametrization.target(x0, eps, wide),
            t=t,
            level=level,
            c_out=c.out,
        )
        return {"loss": self.weighting(guess, self.space), "simple": guess.error().detach()}

    @torch.no_grad()
    def log_prob(
        self, x: Batch, condition: Condition = NO_CONDITION, *, draws: int | None = None
    ) -> Float[Tensor, "*draws b"]:
        """The scorer's log p of the code plus the space's correction; each of several draws encodes `x` again."""
        if self.scorer is None:
            raise UserError(f"this model has no likelihood: {self.lacks[HasLikelihood]}")
        require_samples(x, self.x)
        if draws is not None:
            return torch.stack([self.log_prob(x, condition) for _ in range(draws)])
        x0, correction = self.space.encode(x)
        context = self.conditioner(self.conditioner.given(condition, len(x0)))
        return self.scorer.log_prob(x0, self.denoiser_of(context), self.space) + correction

    def likelihood_protocol(self) -> Protocol:
        return self.space.protocol() | ({} if self.scorer is None else self.scorer.protocol())

    # --- the denoiser

    def denoiser(self, condition: Condition = NO_CONDITION) -> Denoiser:
        """D(x, level), neither clipped nor guided; `level` may have another scale than the process."""
        n = len(next(iter(condition.values()))) if condition else 0
        return self.denoiser_of(self.conditioner(self.conditioner.given(condition, n)))

    def denoiser_of(self, context: Context) -> Denoiser:
        """The denoiser for an embedded condition."""

        def denoise(x: RealCode, level: Level) -> RealCode:
            scale = self.process.scale(level)
            own = Level(level.alpha * scale, level.sigma * scale)
            x_t = column(scale, x) * x
            output, c = self.output(x_t, own, self.process.time(own), context)
            return affine(c, x_t, output)

        return denoise

    def output(
        self, x_t: RealCode, level: Level, t: Shaped[Tensor, "*b"], context: Context
    ) -> tuple[RealCode, Coefficients]:
        """F in float32 at least, and the coefficients of the level; the network computes in its own precision."""
        c = self.parametrization.coefficients(level)
        c_noise = self.parametrization.c_noise(level, t).to(x_t.device).expand(len(x_t)).contiguous()
        output = self.network(scaled(c.into, x_t).to(self.origin), c_noise, context)
        return output.to(torch.promote_types(x_t.dtype, torch.float32)), c

    # --- sampling

    def use(self, sampler: Sampler) -> None:
        if isinstance(sampler, DenoisingSampler):
            self.process.grid(sampler.steps)
            self.check_guidance(sampler.guidance)
        super().use(sampler)

    def check_guidance(self, guidance: float) -> None:
        """UserError if guidance needs an unconditional estimate that the model does not have."""
        if guidance == 1 or (self.condition and self.conditioner.drop):
            return
        if not self.condition:
            raise UserError(
                f"sampler.guidance is {guidance} and this model is unconditional, expected one with a condition; "
                "set sampler.guidance=1"
            )
        raise UserError(
            f"sampler.guidance is {guidance} and this model was trained without dropped conditions "
            "(model.conditioner.drop is 0); train it with model.conditioner.drop=0.1, or set sampler.guidance=1"
        )

    def sampling_protocol(self) -> Protocol:
        """The sampler's settings, with the actual number of steps, and clipping only if the space has a range."""
        steps = len(self.process.grid(self.sampler.steps)) - 1
        clip = self.sampler.clip and self.space.range is not None
        return self.sampler.protocol() | {"sampler_steps": steps, "sampler_clip": clip}

    @torch.no_grad()
    def sample(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Shaped[Tensor, " n *shape"]:
        for x0 in self.estimates(n, condition, rng):
            last = x0
        return self.in_data_units(last, rng)

    @torch.no_grad()
    def film(self, n: int, condition: Condition = NO_CONDITION, rng: Random = GLOBAL) -> Iterator[Moment]:
        asked: deque[tuple[RealCode, Level]] = deque(maxlen=1)
        for x0 in self.estimates(n, condition, rng, lambda *question: asked.append(question)):
            x, level = asked[0]
            noisy = (x / (level.alpha + SEEN * level.sigma)).to(x0.dtype)
            yield Moment(level, self.in_data_units(noisy, rng), self.in_data_units(x0, rng))

    def in_data_units(self, x0: RealCode, rng: Random) -> Shaped[Tensor, " n *shape"]:
        x = self.space.decode(x0, rng)
        assert isinstance(x, Tensor)
        return x

    def estimates(
        self, n: int, condition: Condition, rng: Random, watch: Callable[[RealCode, Level], None] = lambda *_: None
    ) -> Iterator[RealCode]:
        """The sampler's estimates of x_0, step by step; `watch` gets every input of the denoiser."""
        embedded = self.conditioner(self.conditioner.given_or_drawn(condition, n, rng))
        noise = rng.normal((n, *self.space.code.shape), self.origin.device).to(self.origin) * self.process.start
        levels = self.process.grid(self.sampler.steps)
        return self.sampler(watched(self.steered(embedded, n), watch), noise, levels, rng)

    def steered(self, context: Context, n: int) -> Denoiser:
        """The denoiser with the sampler's settings: guided, then clipped."""
        denoiser = self.denoiser_of(context)
        if self.sampler.guidance != 1:
            absent = self.denoiser_of(self.conditioner.absent(n))
            denoiser = guided(denoiser, absent, self.sampler.guidance, self.sampler.guidance_interval)
        return clipped(denoiser, self.space.range if self.sampler.clip else None)


def watched(denoiser: Denoiser, watch: Callable[[RealCode, Level], None]) -> Denoiser:
    """The denoiser, which passes its inputs to `watch` first."""

    def denoise(x: RealCode, level: Level) -> RealCode:
        watch(x, level)
        return denoiser(x, level)

    return denoise


def affine(c: Coefficients, x_t: RealCode, output: RealCode) -> RealCode:
    """D = c_skip x_t + c_out F."""
    return scaled(c.skip, x_t) + scaled(c.out, output)


def scaled(c: Tensor | float, x: RealCode) -> RealCode:
    """`x` times a coefficient, which can differ between samples."""
    return c * x if isinstance(c, float) else column(c, x) * x


def check_parts(process: Process, parametrization: Parametrization, times: Times, weighting: Weighting) -> None:
    """UserError for parts that do not go together."""
    times.check(process)
    if weighting.whole_steps and not times.whole:
        raise UserError(
            f"model/weighting={type(weighting).__name__.lower()} needs times that are steps, and got "
            f"{type(times).__name__}; choose model/times=steps"
        )
    if parametrization.needs_signal and process.level(torch.tensor(process.span[1])).alpha == 0:
        raise UserError(
            f"the process {type(process).__name__} ends without signal, where a network that estimates the noise says "
            "nothing about the data; choose model/parametrization=velocity, flow_velocity or data"
        )
