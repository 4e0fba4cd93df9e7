"""The divergence of distillation as an integral over densities, and its losses as means over samples, in float64."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import vmap

from gaussian_mixtures import Mixture
from vistok.train.generative.flow import interpolate
from vistok.train.generative.score_identity import disagreement, matching_loss

TIMES = [0.03, 0.35, 0.8]
"""One of them below the floor of the weight."""
TIME_PROBABILITIES = [0.2, 0.5, 0.3]
WEIGHTS = [1 / max(t, 0.05) ** 2 for t in TIMES]


def shifted_and_scaled(target: Mixture, parameters: Tensor) -> Mixture:
    """Return what a generator makes whose parameters shift and scale each component, with its graph."""
    shifts, scales = parameters[:-1], parameters[-1]
    means = target.means + shifts.reshape_as(target.means)
    return replace(target, means=means, factors=target.factors * scales)


def initial_parameters(target: Mixture) -> Tensor:
    shifts = torch.linspace(0.35, -0.25, target.means.numel(), dtype=torch.float64)
    return torch.cat([shifts, torch.tensor([1.25], dtype=torch.float64)]).requires_grad_()


def at(time: float, like: Tensor) -> Tensor:
    return torch.full((len(like),), time, dtype=torch.float64)


def gradient(value: Tensor, parameters: Tensor) -> Tensor:
    return torch.autograd.grad(value, parameters, retain_graph=True)[0]


def divergence(target: Mixture, density: Mixture, fake: Mixture) -> Tensor:
    """Return the integral over t and z of w p(z) |phi - psi|^2 over d, p of one mixture and psi of another, on a grid."""
    axes = target.means.shape[1]
    axis = torch.linspace(-7, 7, 401 if axes == 1 else 101, dtype=torch.float64)
    z = torch.cartesian_prod(*[axis] * axes).reshape(-1, axes)
    cell = (axis[1] - axis[0]) ** axes
    total = torch.zeros((), dtype=torch.float64)
    for time, probability, weight in zip(TIMES, TIME_PROBABILITIES, WEIGHTS, strict=True):
        difference = target.expected_residual(z, at(time, z)) - fake.expected_residual(z, at(time, z))
        total = total + probability * weight * cell * density.density(z, at(time, z)) @ difference.square().mean(1)
    return total


def expectation(target: Mixture, generator: Mixture, fake: Mixture, loss: Callable[..., Tensor]) -> Tensor:
    """Return the mean over samples of `loss(phi, psi, g, z, t, e)` of one, with the graph through g and z."""
    sample, noise, probabilities = generator.samples(90 if target.means.shape[1] == 1 else 11)
    total = torch.zeros((), dtype=torch.float64)
    for time, chance in zip(TIMES, TIME_PROBABILITIES, strict=True):
        times = at(time, sample)
        z = interpolate(sample, noise, times)
        arguments = (target.expected_residual(z, times), fake.expected_residual(z, times), sample, z, times, noise)
        of_each = vmap(lambda *one: loss(*[a[None] for a in one]))(*arguments)
        total = total + chance * probabilities @ of_each
    return total


def matching(penalty: float):
    return lambda phi, psi, g, z, t, e: matching_loss(phi, psi, g, t, penalty)


def l1(phi, psi, g, z, t, e):
    return disagreement(phi, psi, 1 / t.clamp_min(0.05) ** 2)
