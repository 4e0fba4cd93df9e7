"""Many small distillations side by side: the generators of all runs are one batch of matrices, and so are the fake networks.

Tensors are `r b 2`: run, sample, coordinate. Adam is elementwise, so a run goes as it would alone, and one that diverges
harms no other.
"""

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional

from vistok.tokenizer.decoders.euler import integrate
from vistok.train.generative.flow import flow_loss, interpolate, sample_times, velocity_weight
from vistok.train.generative.score_identity import disagreement, projected

from .target import expected_residual

BATCH = 128
HIDDEN = 64
TEACHER_STEPS = 8
BETAS = (0.5, 0.99)


class Recipe(NamedTuple):
    """A generator minimises `l2` L2 + `l1` L1."""

    l2: float
    l1: float


class Networks(nn.Module):
    """An MLP of three layers for each run, from z and t to a correction of u, which starts as 0."""

    def __init__(self, runs: int, random: torch.Generator):
        super().__init__()
        sizes = [2 + 8, HIDDEN, HIDDEN, 2]
        shapes = list(pairwise(sizes))
        draws = [torch.randn(runs, *shape, generator=random) / math.sqrt(shape[0]) for shape in shapes]
        self.weights = nn.ParameterList([*draws[:-1], torch.zeros_like(draws[-1])])
        self.biases = nn.ParameterList([torch.zeros(runs, 1, outputs) for _, outputs in shapes])

    def forward(self, z: Tensor, times: Tensor) -> Tensor:
        phases = times[..., None] * torch.tensor([1.0, 2.0, 4.0, 8.0])
        hidden = torch.cat([z, phases.sin(), phases.cos()], -1)
        for weight, bias in zip(list(self.weights)[:-1], list(self.biases)[:-1], strict=True):
            hidden = functional.silu(torch.baddbmm(bias, hidden, weight))
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1])


def generate(generator: Networks, noise: Tensor) -> Tensor:
    """Return samples; at the start they are half the noise, a blob amid the modes."""
    return noise / 2 + generator(noise, torch.ones(noise.shape[:-1]))


def fake_prediction(fake: Networks, z: Tensor, times: Tensor) -> Tensor:
    """Return psi, which starts as the teacher."""
    return expected_residual(z, times) + fake(z, times)


def rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of a step: 50 steps of warm-up, then a cosine to 0."""
    return peak * min(1.0, step / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, lr: float) -> None:
    """Take one step."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def noisy(sample: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return z and t for samples of every run; all runs get the same noise and times, to compare them."""
    times = sample_times(sample.shape[1], generator=random).expand(sample.shape[:2])
    noise = torch.randn(sample.shape[1:], generator=random).expand(sample.shape)
    return vmap(interpolate)(sample, noise, times), times


def distill(generator: Networks, steps: int, lr: float, random: torch.Generator) -> None:
    """Fit the generators to what 8 Euler steps of the teacher make of the same noise."""
    optimizer = torch.optim.Adam(generator.parameters(), lr)
    runs = len(generator.weights[0])
    for step in range(1, steps + 1):
        noise = torch.randn(BATCH, 2, generator=random)
        answer = integrate(expected_residual, noise, TEACHER_STEPS)
        loss = runs * (generate(generator, noise.expand(runs, -1, -1)) - answer).abs().mean()
        descend(optimizer, loss, rate(step, steps, lr))


def match(
    generator: Networks,
    recipes: list[Recipe],
    steps: int,
    lr: float,
    fake_steps: int,
    random: torch.Generator,
    watch: Callable[[int], None],
) -> None:
    """Train the generators, each by its recipe, with a fake network that takes `fake_steps` steps before each of theirs."""
    runs = len(recipes)
    fake = Networks(runs, random)
    optimizer = torch.optim.Adam(generator.parameters(), lr, betas=BETAS)
    fake_optimizer = torch.optim.Adam(fake.parameters(), 2 * lr, betas=BETAS)
    weights = torch.tensor(recipes)
    for step in range(1, steps + 1):
        now = rate(step, steps, lr)
        for _ in range(fake_steps):
            with torch.no_grad():
                sample = generate(generator, torch.randn(BATCH, 2, generator=random).expand(runs, -1, -1))
                z, times = noisy(sample, random)
            losses = vmap(flow_loss)(fake_prediction(fake, z, times), sample, times)
            descend(fake_optimizer, losses.sum(), 2 * now)
        fake.requires_grad_(False)
        sample = generate(generator, torch.randn(BATCH, 2, generator=random).expand(runs, -1, -1))
        z, times = noisy(sample, random)
        teacher, psi, weight = expected_residual(z, times), fake_prediction(fake, z, times), velocity_weight(times)
        l2, l1 = vmap(projected)(teacher, psi, sample, weight), vmap(disagreement)(teacher, psi, weight)
        descend(optimizer, (weights[:, 0] * l2 + weights[:, 1] * l1).sum(), now)
        fake.requires_grad_(True)
        watch(step)


def repeated(networks: Networks, times: int) -> Networks:
    """Return the networks of the runs `times` times over, as a copy."""
    answer = copy.deepcopy(networks)
    for values in (answer.weights, answer.biases):
        for index, parameter in enumerate(values):
            values[index] = nn.Parameter(parameter.detach().repeat(times, 1, 1))
    return answer
