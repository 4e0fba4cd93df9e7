"""A mixture of Gaussians in the plane, whose flow is known in closed form, and how far samples are from it."""

import math

import torch
from torch import Tensor

MODES = 8
RADIUS = 1.4
WIDTH = 0.15
PROBABILITIES = torch.tensor([1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0]) / 16
"""Of the modes around a circle. The mean variance of the two coordinates is 1, as that of a scaled residual."""
NEAR = 3 * WIDTH
"""Samples this near to a mode's centre belong to it: 98.9 % of the target's do."""
DIRECTIONS = 32

_ANGLES = 2 * math.pi * torch.arange(MODES) / MODES
CENTRES = RADIUS * torch.stack([_ANGLES.cos(), _ANGLES.sin()], 1)


def draw(count: int, generator: torch.Generator) -> Tensor:
    """Return `count 2` samples."""
    modes = torch.multinomial(PROBABILITIES, count, replacement=True, generator=generator)
    return CENTRES[modes] + WIDTH * torch.randn(count, 2, generator=generator)


def expected_residual(z: Tensor, times: Tensor) -> Tensor:
    """Return E[u | z] of z = (1 - t) u + t e: what a perfect teacher predicts. z is `... 2` and times `...`."""
    kept = (1 - times)[..., None]
    variance = kept**2 * WIDTH**2 + times[..., None] ** 2
    away = z[..., None, :] - kept[..., None] * CENTRES
    chances = (PROBABILITIES.log() - away.square().sum(-1) / (2 * variance)).softmax(-1)
    return chances @ CENTRES + kept * WIDTH**2 / variance * (z - kept * (chances @ CENTRES))


def sliced_distance(samples: Tensor, others: Tensor) -> Tensor:
    """Return the mean of Wasserstein's 1-distance over 32 directions, of `... n 2` to `n 2` samples."""
    angles = math.pi * torch.arange(DIRECTIONS) / DIRECTIONS
    directions = torch.stack([angles.cos(), angles.sin()])
    sorted_samples, sorted_others = ((points @ directions).sort(-2).values for points in (samples, others))
    return (sorted_samples - sorted_others).abs().mean((-2, -1))


def mode_statistics(samples: Tensor) -> dict[str, Tensor]:
    """Return what `... n 2` samples have of the modes.

    `modes`: those with at least a quarter of their probability; `near`: the fraction of samples near a mode; `width`: the
    standard deviation around their centres of those that are, as a fraction of the target's; `spread`: of all samples.
    """
    distances = (samples[..., None, :] - CENTRES).norm(dim=-1)
    nearest, mode = distances.min(-1)
    near = nearest < NEAR
    counts = (torch.nn.functional.one_hot(mode, MODES) * near[..., None]).float().mean(-2)
    squares = (nearest.square() * near).sum(-1) / near.sum(-1).clamp_min(1)
    return {
        "modes": (counts >= PROBABILITIES / 4).sum(-1).float(),
        "near": near.float().mean(-1),
        "width": (squares / 2).sqrt() / _width_near(),
        "spread": samples.var(-2).sum(-1) / 2,
    }


def _width_near() -> float:
    """Return the width of a mode of which only samples near its centre are seen."""
    tail = math.exp(-((NEAR / WIDTH) ** 2) / 2)
    return WIDTH * math.sqrt(1 - (NEAR / WIDTH) ** 2 / 2 * tail / (1 - tail))
