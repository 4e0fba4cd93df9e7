"""Gradients of the distillation losses, against the true divergence as an integral over densities, in float64."""

import pytest
import torch
from torch import Tensor

from gaussian_mixtures import gaussian, three_ellipses, two_bumps
from true_divergence import divergence, expectation, gradient, initial_parameters, l1, matching, shifted_and_scaled
from vistok.train.generative.score_identity import matching_loss

TARGETS = {"two bumps": two_bumps(), "three ellipses": three_ellipses()}
EACH_TARGET = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())


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
