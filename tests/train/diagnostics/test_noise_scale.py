"""The gradient noise scale on a quadratic whose gradient and noise are known."""

import math

import pytest
import torch
from torch import nn

from samples import small_tokenizer
from vistok.tokenizer.config import parse_config
from vistok.train.diagnostics.noise_scale import (
    GradientMoments,
    NoiseScale,
    momentum_moments,
    optimizer_moments,
    squared_norms,
    two_batch_moments,
)
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.routing import assign_parameters, build_optimizer

DIM = 200


class Quadratic:
    """Mean over images x of (theta - x) H (theta - x) / 2, x normal around 0: gradients are H (theta - x)."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.hessian = torch.diag(torch.rand(DIM, generator=generator) + 0.1)
        self.theta = 0.3 * torch.randn(DIM, generator=generator)
        self.generator = generator

    @property
    def signal(self):
        return float((self.hessian @ self.theta).square().sum())

    @property
    def noise(self):
        return float(self.hessian.square().sum())

    def gradient(self, images):
        drawn = torch.randn(images, DIM, generator=self.generator)
        return (self.theta - drawn).mean(dim=0) @ self.hessian


def test_two_batches_find_signal_and_noise():
    quadratic = Quadratic()
    scale = NoiseScale(decay=0.99)
    for _ in range(600):
        small, other = quadratic.gradient(4), quadratic.gradient(12)
        big = (small + 3 * other) / 4  # the small batch is part of the big one
        norms = [squared_norms([("encoder.weight", gradient)])["encoder"] for gradient in (small, big)]
        scale.observe({"encoder": two_batch_moments(*norms, 4, 16)})
    assert scale.summarise("noise_scale")["noise_scale/encoder"] == pytest.approx(
        quadratic.noise / quadratic.signal, rel=0.1
    )


def test_two_batches_are_exact_in_expectation():
    signal, noise = torch.tensor(3.0), torch.tensor(40.0)
    moments = two_batch_moments(signal + noise / 8, signal + noise / 32, 8, 32)
    assert float(moments.signal) == pytest.approx(3, rel=1e-5) and float(moments.noise) == pytest.approx(40, rel=1e-5)


@pytest.mark.parametrize("beta", [0.5, 0.9])
@pytest.mark.parametrize("steps", [2, 5, 60])
def test_momentum_finds_signal_and_noise(beta, steps):
    quadratic, batch = Quadratic(), 8
    found = []
    for _ in range(60):
        momentum = torch.zeros(DIM)
        for _ in range(steps):
            gradient = quadratic.gradient(batch)
            momentum = beta * momentum + (1 - beta) * gradient
        corrected = momentum / (1 - beta**steps)
        norms = corrected.square().sum(), gradient.square().sum()
        found.append(torch.stack(momentum_moments(*norms, beta, batch, steps)))
    signal, noise = torch.stack(found).mean(dim=0).tolist()
    assert noise == pytest.approx(quadratic.noise, rel=0.1)
    assert signal == pytest.approx(quadratic.signal, rel=0.25)


def test_momentum_is_the_posts_quotient_in_the_end():
    momentum, gradient, beta, batch = torch.tensor(2.0), torch.tensor(5.0), 0.9, 32
    ratio, remaining = 2 / 5, (1 - beta) / (1 + beta)
    signal, noise = momentum_moments(momentum, gradient, beta, batch, math.inf)
    assert float(noise / signal) == pytest.approx(batch / ((ratio - remaining) / (1 - ratio)), rel=1e-5)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_optimizers_momentum_gives_each_modules_moments(name):
    model = small_tokenizer()
    config = parse_config(OptimizerConfig, {"lr": 1e-3, "name": name}, "optimizer")
    assignments = assign_parameters(model, config)
    optimizer = build_optimizer(assignments, config)
    mean = {assigned.name: 0.1 * torch.randn_like(assigned.parameter) for assigned in assignments}
    scale, batch, deviation = NoiseScale(decay=0.95), 8, 2.0
    for step in range(50):
        for assigned in assignments:
            noise = deviation / batch**0.5 * torch.randn_like(assigned.parameter)
            assigned.parameter.grad = mean[assigned.name] + noise
        optimizer.step()
        moments = optimizer_moments(optimizer, model, batch)
        assert bool(moments) == (step > 0)
        if step >= 10:
            scale.observe(moments)
    for module in ("encoder", "quantizer", "decoder"):
        members = [assigned.name for assigned in assignments if assigned.name.startswith(module)]
        signal = sum(float(mean[member].square().sum()) for member in members)
        expected = deviation**2 * sum(mean[member].numel() for member in members) / signal
        assert scale.summarise("noise_scale")[f"noise_scale/{module}"] == pytest.approx(expected, rel=0.2)


def test_squared_norms_are_summed_over_a_module():
    gradients = {
        "encoder.a": torch.tensor([3.0, 4.0]),
        "quantizer_in.weight": torch.tensor([1.0]),
        "quantizer.codes": torch.tensor([2.0]),
        "decoder.b": None,
    }
    assert squared_norms(gradients.items()) == {"encoder": torch.tensor(25.0), "quantizer": torch.tensor(5.0)}


def test_average_is_of_each_and_divided_after():
    scale = NoiseScale(decay=0.5)
    for signal, noise in [(1.0, 10.0), (-0.25, 20.0), (2.0, 30.0)]:
        scale.observe({"decoder": GradientMoments(torch.tensor(signal), torch.tensor(noise))})
    expected = (10 / 8 + 20 / 4 + 30 / 2) / (1 / 8 - 0.25 / 4 + 2 / 2)
    assert scale.summarise("noise_scale")["noise_scale/decoder"] == pytest.approx(expected)


def test_all_modules_are_one_gradient():
    scale = NoiseScale()
    for module, signal, noise in [("encoder", 1.0, 30.0), ("decoder", 3.0, 6.0), ("quantizer", -0.5, 6.0)]:
        scale.observe({module: GradientMoments(torch.tensor(signal), torch.tensor(noise))})
    found = scale.summarise("noise_scale")
    assert found == {
        "noise_scale/encoder": pytest.approx(30.0),
        "noise_scale/decoder": pytest.approx(2.0),
        "noise_scale/all": pytest.approx(42 / 3.5),
    }


def test_a_signal_that_is_lost_in_the_noise_is_left_out():
    scale = NoiseScale()
    scale.observe({"encoder": GradientMoments(torch.tensor(-1.0), torch.tensor(3.0))})
    assert scale.summarise("noise_scale") == {}


def test_state_is_restored(tmp_path):
    scale, twin = NoiseScale(), NoiseScale()
    scale.observe({"encoder": GradientMoments(torch.tensor(1.0), torch.tensor(3.0))})
    torch.save(scale.state_dict(), tmp_path / "state.pt")
    twin.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for each in (scale, twin):
        each.observe({"encoder": GradientMoments(torch.tensor(2.0), torch.tensor(3.0))})
    assert scale.summarise("noise_scale") == twin.summarise("noise_scale")


def test_momentum_is_read_without_being_touched():
    parameter = nn.Parameter(torch.randn(4, 5))
    model = nn.Module()
    model.encoder = nn.Module()
    model.encoder.register_parameter("weight", parameter)
    optimizer = torch.optim.AdamW([parameter], lr=0.1)
    for _ in range(2):
        parameter.grad = torch.randn(4, 5)
        optimizer.step()
    before = optimizer.state[parameter]["exp_avg"].clone()
    optimizer_moments(optimizer, model, 4)
    assert torch.equal(optimizer.state[parameter]["exp_avg"], before)


def test_a_step_that_overflowed_is_passed_over():
    scale, good = NoiseScale(), GradientMoments(torch.tensor(2.0), torch.tensor(6.0))
    scale.observe({"decoder": GradientMoments(torch.tensor(float("inf")), torch.tensor(float("nan")))})
    scale.observe({"decoder": good})
    scale.observe({"decoder": GradientMoments(torch.tensor(float("nan")), torch.tensor(1.0))})
    assert scale.summarise("noise_scale") == {
        "noise_scale/decoder": pytest.approx(3.0),
        "noise_scale/all": pytest.approx(3.0),
    }
