"""Gradients of the distillation losses, against the true divergence as an integral over densities, in float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from gaussian_mixtures import Mixture, gaussian, three_ellipses, two_bumps
from vistok.train.generative.flow import interpolate, velocity
from vistok.train.generative.score_identity import disagreement, matching_loss, projected

TARGETS = {"two bumps": two_bumps(), "three ellipses": three_ellipses()}
EACH_TARGET = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
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


def expectation(target: Mixture, generator: Mixture, fake: Mixture, loss) -> Tensor:
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


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=2e-4, atol=2e-4 * float(expected.abs().max()))


@EACH_TARGET
def test_both_losses_have_the_value_of_the_divergence(target):
    generator = shifted_and_scaled(target, initial_parameters(target)).detach()
    expected = divergence(target, generator, generator)
    close(expectation(target, generator, generator, matching(0.0)), expected)
    close(expectation(target, generator, generator, l1), expected)


@EACH_TARGET
@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0, 1.2])
def test_lambda_weighs_the_gradient_through_the_density_of_samples(target, penalty):
    """With the fake network's parameters held: 2 (L2 - lambda L1) has one part through psi and 2 - 2 lambda through p."""
    parameters = initial_parameters(target)
    generator = shifted_and_scaled(target, parameters)
    actual = gradient(2 * expectation(target, generator, generator.detach(), matching(penalty)), parameters)
    through_density = gradient(divergence(target, generator, generator.detach()), parameters)
    through_fake = gradient(divergence(target, generator.detach(), generator), parameters)
    close(actual, through_fake + (2 - 2 * penalty) * through_density)
    whole = gradient(divergence(target, generator, generator), parameters)
    assert torch.allclose(actual, whole, rtol=1e-2) == (penalty == 0.5), "lambda = 1/2 alone has no bias"


@EACH_TARGET
def test_l1_alone_misses_the_gradient_through_the_fake_network(target):
    parameters = initial_parameters(target)
    generator = shifted_and_scaled(target, parameters)
    actual = gradient(expectation(target, generator, generator.detach(), l1), parameters)
    close(actual, gradient(divergence(target, generator, generator.detach()), parameters))
    whole = gradient(divergence(target, generator, generator), parameters)
    assert (actual - whole).norm() > 0.5 * whole.norm()


def test_l1_alone_cannot_move_a_shifted_gaussian():
    target = gaussian([0.7], [[0.4]])
    parameters = torch.tensor([0.5, 1.0], dtype=torch.float64).requires_grad_()
    generator = shifted_and_scaled(target, parameters)
    shift, _ = gradient(expectation(target, generator, generator.detach(), l1), parameters)
    assert abs(shift) < 1e-12
    needed, _ = gradient(divergence(target, generator, generator), parameters)
    for penalty in (0.0, 0.5, 1.0, 1.2):
        given, _ = gradient(2 * expectation(target, generator, generator.detach(), matching(penalty)), parameters)
        torch.testing.assert_close(given, needed)


@EACH_TARGET
def test_outputs_without_a_graph_through_z_have_another_gradient(target):
    """Holding the parameters is right; detaching what the networks return is not."""
    parameters = initial_parameters(target)
    generator = shifted_and_scaled(target, parameters)
    whole = gradient(divergence(target, generator, generator), parameters)

    def detached(phi, psi, g, z, t, e):
        return 2 * matching_loss(phi, psi.detach(), g, t, 0.5)

    actual = gradient(expectation(target, generator, generator.detach(), detached), parameters)
    assert (actual - whole).norm() > 0.1 * whole.norm()


def test_a_fake_network_that_follows_the_generator_would_make_all_losses_multiples_of_the_divergence():
    """Were psi differentiated too, L1 and L2 would both be D: it is the held parameters that make them differ."""
    target = two_bumps()
    parameters = initial_parameters(target)
    generator = shifted_and_scaled(target, parameters)
    whole = gradient(divergence(target, generator, generator), parameters)
    for penalty in (0.0, 0.5, 1.2):
        close(gradient(expectation(target, generator, generator, matching(penalty)), parameters), (1 - penalty) * whole)


def test_nothing_moves_a_generator_of_the_target():
    target = two_bumps()
    parameters = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).requires_grad_()
    generator = shifted_and_scaled(target, parameters)
    for penalty in (0.0, 0.5, 1.0, 1.2):
        given = gradient(expectation(target, generator, generator.detach(), matching(penalty)), parameters)
        torch.testing.assert_close(given, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("penalty", [0.5, 1.0])
def test_a_gaussian_in_two_dimensions_against_its_closed_form(penalty):
    """phi - psi = A z + b, so that E |phi - psi|^2 = tr(A S A') + |A m + b|^2 over samples of mean m and covariance S."""
    target = gaussian([0.4, -0.6], [[0.7, 0.0], [0.3, 0.5]])
    parameters = torch.tensor([0.3, -0.2, 1.4], dtype=torch.float64).requires_grad_()

    def affine(mixture: Mixture, time: float) -> tuple[Tensor, Tensor]:
        own = mixture.covariances[0]
        gain = (1 - time) * own @ torch.linalg.inv((1 - time) ** 2 * own + time**2 * torch.eye(2, dtype=torch.float64))
        return gain, mixture.means[0] - (1 - time) * gain @ mixture.means[0]

    def closed(density: Mixture, fake: Mixture) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for time, chance, weight in zip(TIMES, TIME_PROBABILITIES, WEIGHTS, strict=True):
            (phi, phi_bias), (psi, psi_bias) = affine(target, time), affine(fake, time)
            matrix, bias = phi - psi, phi_bias - psi_bias
            covariance = (1 - time) ** 2 * density.covariances[0] + time**2 * torch.eye(2, dtype=torch.float64)
            constant = matrix @ ((1 - time) * density.means[0]) + bias
            squares = torch.trace(matrix @ covariance @ matrix.mT) + constant.square().sum()
            total = total + chance * weight * squares / 2
        return total

    generator = shifted_and_scaled(target, parameters)
    actual = gradient(2 * expectation(target, generator, generator.detach(), matching(penalty)), parameters)
    held = generator.detach()
    expected = closed(generator, generator) if penalty == 0.5 else closed(held, generator)
    torch.testing.assert_close(actual, gradient(expected, parameters), rtol=1e-9, atol=1e-9)


def test_residuals_velocities_and_noise_give_the_same_losses_and_gradients():
    random = torch.Generator().manual_seed(0)
    phi, psi, noise = torch.randn(3, 4, 3, 5, 6, generator=random).double()
    sample = torch.randn(4, 3, 5, 6, generator=random).double().requires_grad_()
    times = torch.tensor([0.06, 0.3, 0.7, 0.95], dtype=torch.float64)
    t = times[:, None, None, None]
    z = interpolate(sample, noise, times)
    teacher, fake = phi + z.sin(), psi + z.cos()
    expected = matching_loss(teacher, fake, sample, times, 0.7)
    v_teacher, v_fake = velocity(z, teacher, times), velocity(z, fake, times)
    ones = torch.ones(4, dtype=torch.float64)
    velocities = projected(v_teacher, v_fake, noise - sample, ones) - 0.7 * disagreement(v_teacher, v_fake, ones)
    e_teacher, e_fake = (z - (1 - t) * teacher) / t, (z - (1 - t) * fake) / t
    weight = (1 - times) ** -2
    noises = projected(e_teacher, e_fake, noise, weight) - 0.7 * disagreement(e_teacher, e_fake, weight)
    torch.testing.assert_close(v_fake - v_teacher, (teacher - fake) / t)
    for other in (velocities, noises):
        torch.testing.assert_close(other, expected)
        torch.testing.assert_close(gradient(other, sample), gradient(expected, sample))


def test_losses_are_float32_whatever_the_networks_compute_in():
    teacher, fake, sample = torch.randn(3, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).bfloat16()
    times = torch.tensor([0.2, 1.0])
    loss = matching_loss(teacher, fake, sample, times)
    assert loss.dtype == torch.float32
    exact = matching_loss(teacher.double(), fake.double(), sample.double(), times.double())
    torch.testing.assert_close(loss.double(), exact, rtol=1e-6, atol=0)
