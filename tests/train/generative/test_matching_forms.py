"""The losses on Gaussians in the plane, where all is closed, and in the forms that predictions have."""

import pytest
import torch
from torch import Tensor

from gaussian_mixtures import Mixture, gaussian
from true_divergence import TIME_PROBABILITIES, TIMES, WEIGHTS, expectation, gradient, matching, shifted_and_scaled
from vistok.train.generative.flow import interpolate, velocity
from vistok.train.generative.score_identity import disagreement, matching_loss, projected


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
