import math

import numpy as np
import pytest
import torch
from torch.func import vmap

from gaussian_mixtures import Mixture, gaussian, normal_nodes, three_ellipses, two_bumps
from vistok.tokenizer.decoders.euler import integrate
from vistok.train.generative.flow import flow_loss, interpolate, sample_times, velocity, velocity_weight

TARGETS = {
    "a Gaussian": gaussian([0.7], [[0.4]]),
    "two bumps": two_bumps(),
    "a Gaussian in 2 dimensions": gaussian([0.7, -0.2], [[0.4, 0.0], [0.3, 0.9]]),
    "three ellipses": three_ellipses(),
}
TIMES = [0.02, 0.3, 0.9, 1.0]
EACH_TARGET = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
EACH_TIME = pytest.mark.parametrize("time", TIMES)


def at(time: float, count: int) -> torch.Tensor:
    return torch.full((count,), time, dtype=torch.float64)


def loss_of_each(prediction: torch.Tensor, residual: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    return vmap(lambda p, u, t: flow_loss(p[None], u[None], t[None]))(prediction, residual, times)


def posterior_mean(target: Mixture, z: torch.Tensor, time: float, velocities: bool) -> torch.Tensor:
    """Return E[u | z] or E[e - u | z] as a sum over a grid of u, by Bayes' rule and no formula of Gaussians' posteriors."""
    axis = torch.linspace(-9, 9, 801 if z.shape[1] == 1 else 241, dtype=torch.float64)
    u = torch.cartesian_prod(*[axis] * z.shape[1]).reshape(-1, z.shape[1])
    noise = (z[:, None] - (1 - time) * u) / time
    posterior = (target.density(u, at(0, len(u))).log() - noise.square().sum(2) / 2).softmax(1)
    return (posterior[..., None] * (noise - u if velocities else u)).sum(1)


@EACH_TARGET
@pytest.mark.parametrize("time", [0.2, 0.5, 1.0])
def test_the_expected_residual_gives_the_marginal_velocity(target, time):
    """This also checks the closed forms that the other tests build on."""
    z = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None] * torch.tensor(
        [1.0, -0.7][: target.means.shape[1]], dtype=torch.float64
    )
    expected = target.expected_residual(z, at(time, len(z)))
    torch.testing.assert_close(expected, posterior_mean(target, z, time, velocities=False), rtol=0, atol=1e-9)
    velocities = velocity(z, expected, at(time, len(z)))
    torch.testing.assert_close(velocities, posterior_mean(target, z, time, velocities=True), rtol=0, atol=1e-9)


@EACH_TARGET
@EACH_TIME
def test_the_loss_is_least_at_the_expected_residual(target, time):
    """Its derivative there is 0 in every direction, and the loss rises by the mean weighted square of the change."""
    residual, noise, probabilities = target.samples(60 if target.means.shape[1] == 1 else 14)
    times = at(time, len(residual))
    z = interpolate(residual, noise, times)
    best = target.expected_residual(z, times)
    least = probabilities @ loss_of_each(best, residual, times)
    for change in (torch.ones_like(z), z, z.sin(), z.flip(1).square()):
        risen = probabilities @ loss_of_each(best + change, residual, times)
        rise = probabilities @ (velocity_weight(times) * change.square().mean(1))
        torch.testing.assert_close(risen - least, rise, rtol=3e-4 if len(target.weights) > 1 else 1e-9, atol=1e-9)


@EACH_TIME
def test_the_loss_is_the_squared_error_of_the_velocity(time):
    residual, noise, prediction = torch.randn(3, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0)).double()
    times = at(time, 4)
    z = interpolate(residual, noise, times)
    torch.testing.assert_close(velocity(z, residual, times), noise - residual)
    squared = (velocity(z, prediction, times) - (noise - residual)).square().mean()
    floor = min(1.0, time / 0.05) ** 2
    torch.testing.assert_close(flow_loss(prediction, residual, times), squared * floor)


def test_each_residual_has_its_own_time():
    residual, noise = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    times = torch.tensor([0.01, 0.5, 1.0])
    together = interpolate(residual, noise, times)
    for one, time in enumerate(times.tolist()):
        torch.testing.assert_close(together[one], (1 - time) * residual[one] + time * noise[one])
    means = [
        (together[one] - residual[one]).square().mean() / max(t, 0.05) ** 2 for one, t in enumerate(times.tolist())
    ]
    torch.testing.assert_close(flow_loss(together, residual, times), torch.stack(means).mean())


@EACH_TARGET
def test_one_step_is_the_mean_of_the_target_for_any_noise(target):
    noise = normal_nodes(5, target.means.shape[1])[0]
    answer = integrate(target.expected_residual, noise, 1)
    torch.testing.assert_close(answer, target.mean().expand_as(answer))


@EACH_TARGET
def test_euler_steps_converge_to_the_moments_of_the_target(target):
    """Of first order: twice the steps halve the error of mean and covariance."""
    axes = target.means.shape[1]
    axis = torch.linspace(-7, 7, 1001 if axes == 1 else 71, dtype=torch.float64)
    noise = torch.cartesian_prod(*[axis] * axes).reshape(-1, axes)
    probabilities = (-noise.square().sum(1) / 2).softmax(0)
    errors = []
    for steps in (40, 80, 160):
        answer = integrate(target.expected_residual, noise, steps)
        mean = probabilities @ answer
        centred = answer - mean
        covariance = torch.einsum("n,nd,ne->de", probabilities, centred, centred)
        errors.append((mean - target.mean()).norm() + (covariance - target.covariance()).norm())
    assert errors[-1] < 0.03
    assert 1.8 < errors[0] / errors[1] < 2.2
    assert 1.9 < errors[1] / errors[2] < 2.1


def test_many_steps_carry_each_quantile_of_the_noise_to_that_of_the_target():
    """In 1 dimension paths of the flow cannot cross, so the map is monotone and known: equal distribution functions."""
    target = two_bumps()
    noise = torch.linspace(-2.5, 2.5, 11, dtype=torch.float64)[:, None]
    normal = torch.special.ndtr
    errors = []
    for steps in (200, 400):
        answer = integrate(target.expected_residual, noise, steps)
        reached = (target.weights * normal((answer - target.means[:, 0]) / target.factors[:, 0, 0])).sum(1)
        errors.append((reached - normal(noise)[:, 0]).abs().max())
    assert errors[1] < 1e-3
    assert 1.9 < errors[0] / errors[1] < 2.1


def test_times_have_the_density_of_the_sigmoid_of_a_normal_and_a_tenth_uniform():
    times = np.sort(sample_times(200_000, generator=torch.Generator().manual_seed(0)).double().numpy())
    assert 0 < times[0] < 1e-3
    assert 1 - 1e-3 < times[-1] <= 1
    logits = np.log(times[:-1] / (1 - times[:-1]))
    expected = 0.9 * np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in logits]) + 0.1 * times[:-1]
    distance = np.abs(expected - (np.arange(len(expected)) + 0.5) / len(times)).max()
    assert distance < 1.63 / math.sqrt(len(times)), "the Kolmogorov-Smirnov test at 1 percent"


def test_losses_and_samples_are_float32_whatever_the_network_computes_in():
    half = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2)).bfloat16()
    times = torch.tensor([0.2, 1.0])
    loss = flow_loss(half, torch.zeros(2, 3, 4, 4), times)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, flow_loss(half.float(), torch.zeros(2, 3, 4, 4), times), rtol=0, atol=0)
    assert integrate(lambda z, t: z.bfloat16(), half, 2).dtype == torch.float32
