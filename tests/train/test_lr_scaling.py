"""Rates by batch size against one noisy step on quadratics, whose best rate is found numerically."""

import math

import pytest
import torch

from vistok.tokenizer.config import parse_config
from vistok.train.lr_scaling import RULES, SIGN_CONSTANTS, LrScalingConfig, scale_lr

DIM, DRAWS, BASE = 12, 40_000, 8
BATCHES = [1, 4, 32, 256, 4096]


def best_rate(gradient, hessian, steps):
    """Find the rate of least mean loss after w <- w - rate * step, by golden section over drawn steps."""
    slopes, curvatures = steps @ gradient, ((steps @ hessian) * steps).sum(dim=1)

    def loss(rate):
        return float((-rate * slopes + rate**2 / 2 * curvatures).mean())

    low, high, golden = 0.0, 4 * float(slopes.mean() / curvatures.mean()), (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return (low + high) / 2


def noisy(gradient, factor, batch):
    """Draw mean gradients over `batch` pictures, whose covariance is factor factor^T."""
    generator = torch.Generator().manual_seed(batch)
    noise = torch.randn(DRAWS // 2, len(gradient), generator=generator, dtype=torch.float64) @ factor.T
    return gradient + torch.cat([noise, -noise]) / batch**0.5


def problem():
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(DIM, generator=generator, dtype=torch.float64)
    root, factor = (torch.randn(DIM, DIM, generator=generator, dtype=torch.float64) for _ in range(2))
    return gradient, root @ root.T / DIM, 2 * factor


def adam(gradient, drawn, deviation, batch):
    """Divide by what the second moment is once it has averaged the noise away."""
    return drawn / (gradient.square() + deviation.square() / batch).sqrt()


def test_sgd_saturates_as_the_best_rate_on_a_quadratic():
    gradient, hessian, factor = problem()
    noise_scale = float(torch.trace(factor @ factor.T @ hessian) / (gradient @ hessian @ gradient))
    rates = {batch: best_rate(gradient, hessian, noisy(gradient, factor, batch)) for batch in [*BATCHES, BASE]}
    for batch in BATCHES:
        scaled = scale_lr(rates[BASE], BASE, batch, "sgd_saturating", noise_scale)
        assert scaled == pytest.approx(rates[batch], rel=0.03), batch
    assert rates[4096] > 20 * rates[1]  # the law is not tried where it is flat


@pytest.mark.parametrize("ratio", [0.5, 4.0])
def test_adam_saturates_as_the_best_rate_under_a_diagonal_hessian(ratio):
    gradient, hessian, _ = problem()
    hessian = torch.diag(hessian.diagonal())
    deviation = ratio * gradient.abs()  # the same noise over signal everywhere, as the law supposes
    rates = {}
    for batch in [*BATCHES, BASE]:
        drawn = noisy(gradient, torch.diag(deviation), batch)
        rates[batch] = best_rate(gradient, hessian, adam(gradient, drawn, deviation, batch))
    for batch in BATCHES:
        scaled = scale_lr(rates[BASE], BASE, batch, "sign_saturating", ratio**2)
        assert scaled == pytest.approx(rates[batch], rel=0.03), batch


@pytest.mark.parametrize("batch", BATCHES)
def test_sign_saturates_as_the_error_function_nearly_says(batch):
    ratio, constant = 8.0, SIGN_CONSTANTS["sign"]

    def mean_sign(size):  # of a normal variable with mean 1 and deviation ratio / sqrt(size)
        return math.erf(math.sqrt(size / 2) / ratio)

    scaled = scale_lr(1.0, 1, batch, "sign_saturating", ratio**2, sign_constant=constant)
    assert scaled == pytest.approx(mean_sign(batch) / mean_sign(1), rel=0.13)
    if batch < 16 or batch > 1000:
        assert scaled == pytest.approx(mean_sign(batch) / mean_sign(1), rel=0.03)


def test_the_sign_itself_is_drawn():
    gradient, hessian, _ = problem()
    hessian, ratio = torch.diag(hessian.diagonal()), 8.0
    rates = [
        best_rate(gradient, hessian, noisy(gradient, torch.diag(ratio * gradient.abs()), batch).sign())
        for batch in (4, 4096)
    ]
    scaled = scale_lr(rates[0], 4, 4096, "sign_saturating", ratio**2, sign_constant=SIGN_CONSTANTS["sign"])
    assert scaled == pytest.approx(rates[1], rel=0.05)


def test_surge_is_the_best_rate_of_adam_on_a_full_quadratic():
    gradient, _, _ = problem()
    signs, ratio = gradient.sign(), 3.0
    hessian = torch.diag(torch.linspace(0.5, 1.5, DIM, dtype=torch.float64)) + 0.4 * torch.outer(signs, signs)
    off_diagonal = float(signs @ hessian @ signs - torch.trace(hessian))
    curvature_ratio = float((torch.trace(hessian) / off_diagonal) ** 0.5)
    assert curvature_ratio < 1
    peak = ratio**2 * curvature_ratio**2 / (1 - curvature_ratio**2)
    rates = {}
    for batch in [*BATCHES, BASE, round(peak)]:
        drawn = noisy(gradient, torch.diag(ratio * gradient.abs()), batch)
        rates[batch] = best_rate(gradient, hessian, adam(gradient, drawn, ratio * gradient.abs(), batch))
        assert scale_lr(1.0, BASE, batch, "surge", ratio**2, curvature_ratio) <= scale_lr(
            1.0, BASE, peak, "surge", ratio**2, curvature_ratio
        )
    for batch in BATCHES:
        scaled = scale_lr(rates[BASE], BASE, batch, "surge", ratio**2, curvature_ratio)
        assert scaled == pytest.approx(rates[batch], rel=0.03), batch
    assert rates[4096] < 0.97 * rates[round(peak)] > rates[1]  # it does fall beyond the peak


def test_muons_law_is_the_best_rate_of_orthogonal_steps():
    rows, columns, size, deviation = 4, 256, 1.0, 0.5
    generator = torch.Generator().manual_seed(0)
    mean = size * torch.linalg.qr(torch.randn(columns, rows, generator=generator))[0].T
    noise_scale = deviation**2 * rows * columns / float(mean.square().sum())
    assert noise_scale > 60
    rates = {}
    for batch in (2, 8, 64, 512, 4096):
        drawn = mean + deviation / batch**0.5 * torch.randn(200, rows, columns, generator=generator)
        left, _, right = torch.linalg.svd(drawn, full_matrices=False)
        steps = (left @ right).flatten(1).double()
        rates[batch] = best_rate(mean.flatten().double(), torch.eye(rows * columns, dtype=torch.float64), steps)
    for batch in rates:
        assert scale_lr(rates[8], 8, batch, "muon", noise_scale) == pytest.approx(rates[batch], rel=0.04), batch


@pytest.mark.parametrize("rule", RULES)
def test_base_batch_keeps_the_rate_and_ways_add_up(rule):
    facts = {"noise_scale": 50.0, "curvature_ratio": 0.5, "momentum": 0.5}
    assert scale_lr(3e-4, 32, 32, rule, **facts) == pytest.approx(3e-4)
    there = scale_lr(3e-4, 32, 256, rule, **facts)
    assert scale_lr(there, 256, 1024, rule, **facts) == pytest.approx(scale_lr(3e-4, 32, 1024, rule, **facts))


@pytest.mark.parametrize(
    ("rule", "small", "large"),
    [
        ("linear", 2, 2),
        ("sqrt", 2**0.5, 2**0.5),
        ("sgd_saturating", 2, 1),
        ("sign_saturating", 2**0.5, 1),
        ("surge", 2**0.5, 1),
        ("muon", 2**0.5, 1),
    ],
)
def test_what_a_doubled_batch_gives_far_below_and_far_above_the_noise_scale(rule, small, large):
    facts = {"noise_scale": 1e6, "curvature_ratio": 0.5}
    assert scale_lr(1.0, 1, 2, rule, **facts) == pytest.approx(small, rel=1e-3)
    assert scale_lr(1.0, 10**9, 2 * 10**9, rule, **facts) == pytest.approx(large, rel=1e-3)


def test_surge_is_the_saturating_law_when_the_hessian_is_diagonal():
    for batch in BATCHES:
        surge = scale_lr(1.0, BASE, batch, "surge", 30.0, 1e4)
        assert surge == pytest.approx(scale_lr(1.0, BASE, batch, "sign_saturating", 30.0))


def test_momentum_is_a_larger_batch():
    with_momentum = scale_lr(1.0, 8, 64, "muon", 200.0, momentum=0.9)
    assert with_momentum == pytest.approx(scale_lr(1.0, 8 * 19, 64 * 19, "muon", 200.0))
    assert with_momentum < scale_lr(1.0, 8, 64, "muon", 200.0)


def test_config_says_the_same():
    config = parse_config(
        LrScalingConfig, {"rule": "sign_saturating", "base_batch_size": 8, "noise_scale": 40, "signs": "sign"}
    )
    expected = math.sqrt((1 + math.pi / 2 * 40 / 8) / (1 + math.pi / 2 * 40 / 64))
    assert config.scale(1e-3, 64) == pytest.approx(1e-3 * expected)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("linear", "sqrt")])
def test_a_rule_without_its_noise_scale_is_an_error(rule):
    message = f"rule {rule} needs the gradient noise scale, but noise_scale is not set: .* or choose linear or sqrt"
    with pytest.raises(ValueError, match=message):
        scale_lr(1e-3, 8, 16, rule)
    with pytest.raises(ValueError, match="optimizer.scale_lr: " + message):
        parse_config(LrScalingConfig, {"rule": rule, "base_batch_size": 8}, "optimizer.scale_lr")


def test_surge_without_its_curvature_ratio_is_an_error():
    with pytest.raises(
        ValueError, match="rule surge needs curvature_ratio, but it is not set: .* choose sign_saturating"
    ):
        scale_lr(1e-3, 8, 16, "surge", 40.0)
