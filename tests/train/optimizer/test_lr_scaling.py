"""Rates by batch size against one noisy step on quadratics, and the config that applies each optimizer's law."""

import math

import numpy as np
import pytest
import torch

from vistok.tokenizer.config import parse_config
from vistok.train.optimizer.config import OptimizerConfig
from vistok.train.optimizer.lr_scaling import LrScalingConfig, adabelief_rate, adam_rate, muon_rate, noise_left

DIM, DRAWS, BASE = 12, 40_000, 8
BATCHES = [1, 4, 32, 256, 4096]


def scaled(law, base, batch, noise_scale, **facts):
    """Return the rate at a batch size over that at a base batch size."""
    return law(noise_scale / batch, **facts) / law(noise_scale / base, **facts)


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


def problem():
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(DIM, generator=generator, dtype=torch.float64)
    root, factor = (torch.randn(DIM, DIM, generator=generator, dtype=torch.float64) for _ in range(2))
    return gradient, root @ root.T / DIM, 2 * factor


def surging(gradient):
    """Return a Hessian whose curvature along all signs exceeds its diagonal, and its curvature ratio."""
    signs = gradient.sign()
    hessian = torch.diag(torch.linspace(0.5, 1.5, DIM, dtype=torch.float64)) + 0.4 * torch.outer(signs, signs)
    off_diagonal = float(signs @ hessian @ signs - torch.trace(hessian))
    return hessian, float((torch.trace(hessian) / off_diagonal) ** 0.5)


def adam_steps(gradient, deviation, batch, beta1, chains=500, beta2=0.999, eps=0.0, centred=False):
    """Run Adam's averages over noisy gradients at one place until they are steady, and return the updates of many chains."""
    generator = torch.Generator().manual_seed(batch)
    shape = chains, len(gradient)
    m, v = torch.zeros(shape, dtype=torch.float64), (gradient.square() + deviation.square() / batch).expand(shape)
    if centred:
        v = deviation.square().expand(shape) / batch
    found = []
    for step in range(1, 601):
        drawn = gradient + deviation / batch**0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
        m = beta1 * m + (1 - beta1) * drawn
        v = beta2 * v + (1 - beta2) * (drawn - m if centred else drawn).square()
        if step > 300 and step % 10 == 0:
            found.append(m / (v.sqrt() + eps))
    return torch.cat(found)


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_simulated_adam_under_a_diagonal_hessian(beta1):
    gradient, hessian, _ = problem()
    hessian, noise_scale = torch.diag(hessian.diagonal()), 300.0
    batches = [16, 64, 256, 1024, 65_536]
    rates = [
        best_rate(gradient, hessian, adam_steps(gradient, noise_scale**0.5 * gradient.abs(), batch, beta1))
        for batch in batches
    ]
    laws = [scaled(adam_rate, 16, batch, noise_scale, beta=beta1) for batch in batches]
    assert laws == pytest.approx([rate / rates[0] for rate in rates], rel=0.04)
    if beta1 == 0.9:
        assert laws == pytest.approx([1, 0.86, 0.63, 0.50, 0.45], abs=0.01)
    assert (laws[-1] > laws[0]) == (beta1 < 0.9)  # momentum turns the law round


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_simulated_adam_under_a_full_hessian(beta1):
    gradient, _, _ = problem()
    hessian, curvature_ratio = surging(gradient)
    assert curvature_ratio < 1
    deviation = 3 * gradient.abs()
    rates = {batch: best_rate(gradient, hessian, adam_steps(gradient, deviation, batch, beta1)) for batch in BATCHES}
    for batch in BATCHES:
        law = scaled(adam_rate, 4, batch, 9.0, beta=beta1, curvature_ratio=curvature_ratio)
        assert law == pytest.approx(rates[batch] / rates[4], rel=0.04), batch


@pytest.mark.parametrize("curvature_ratio", [None, 0.4, 0.9, 3.0])
@pytest.mark.parametrize("beta", [0.0, 0.8])
@pytest.mark.parametrize("epsilon", [0.0, 0.7])
def test_adams_law_is_that_of_the_posts_sums(curvature_ratio, beta, epsilon):
    """eta = b sum u g / (sum u u b^2 H off the diagonal + sum H_ii of the mean square), written out by coordinates."""
    rng = np.random.default_rng(1)
    signs, size, noise_scale = rng.choice([-1.0, 1.0], 7), 0.3, 40.0
    diagonal = rng.uniform(0.5, 1.5, 7)
    hessian = np.diag(diagonal)
    if curvature_ratio is not None:
        hessian += np.outer(signs, signs) * (1 - np.eye(7)) * diagonal.sum() / 42 / curvature_ratio**2
    g, eps, r = size * signs, epsilon * size, (1 - beta) / (1 + beta)

    def best(batch):
        k2 = noise_scale * size**2 / (size**2 + eps**2) / batch  # s^2 / (g^2 + eps^2) / B
        b, u = 1 / np.sqrt(1 + k2), g / np.sqrt(g**2 + eps**2)
        second = b**2 * np.outer(u, u)
        np.fill_diagonal(second, b**2 * (u**2 + r * k2))  # b^2 u^2 + 1 - b^2 where there is no momentum
        return b * (u @ g) / (second * hessian).sum()

    for batch in (1, 20, 500):
        law = scaled(
            adam_rate, 5, batch, noise_scale, beta=beta, curvature_ratio=curvature_ratio, epsilon_ratio=epsilon
        )
        assert law == pytest.approx(best(batch) / best(5), rel=1e-9)


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 30.0])
def test_simulated_adam_with_an_epsilon_that_counts(epsilon):
    gradient = torch.tensor([1.0, -1.0] * 6, dtype=torch.float64)
    hessian, curvature_ratio = surging(gradient)
    facts = {"beta": 0.9, "curvature_ratio": curvature_ratio, "epsilon_ratio": epsilon}
    deviation = 10 * torch.ones_like(gradient)
    rates = {
        b: best_rate(gradient, hessian, adam_steps(gradient, deviation, b, 0.9, eps=epsilon)) for b in (4, 64, 4096)
    }
    for batch in (64, 4096):
        law, found = scaled(adam_rate, 4, batch, 100.0, **facts), rates[batch] / rates[4]
        assert law == pytest.approx(found, rel=0.25), batch  # epsilon is inside the root in the law, outside in torch
        root = {size: math.sqrt(1 + 100 / size) for size in (4, batch)}
        inside = {size: math.sqrt(root[size] ** 2 + epsilon**2) for size in root}
        outside = {size: root[size] + epsilon for size in root}
        exact = law * inside[4] / inside[batch] * outside[batch] / outside[4]
        assert exact == pytest.approx(found, rel=0.05), batch


def test_a_larger_epsilon_surges_less():
    def fall(epsilon):
        return scaled(adam_rate, 8, 10**6, 64.0, curvature_ratio=0.3, epsilon_ratio=epsilon)

    assert fall(0) < fall(1) < fall(3) < fall(10)


def test_simulated_adabelief():
    gradient, hessian, _ = problem()
    hessian = torch.diag(hessian.diagonal())
    deviation, batches = 3 * gradient.abs(), [4, 32, 256]
    rates = [best_rate(gradient, hessian, adam_steps(gradient, deviation, b, 0.9, centred=True)) for b in batches]
    laws = [scaled(adabelief_rate, 4, batch, 9.0, beta=0.9) for batch in batches]
    assert laws == pytest.approx([rate / rates[0] for rate in rates], rel=0.04)


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_where_the_laws_turn(beta):
    """Where the posts say that a larger batch wants a smaller rate."""
    ratio, r = 0.5, (1 - beta) / (1 + beta)
    if beta:
        peak, facts = 100 * (1 - beta) / (3 * beta - 1), {"beta": beta}
    else:
        peak, facts = 100 * ratio**2 / (1 - ratio**2), {"curvature_ratio": ratio}
    assert peak == pytest.approx(100 * (r / (1 - 2 * r) if beta else 1 / 3))
    top = scaled(adam_rate, BASE, peak, 100.0, **facts)
    assert all(scaled(adam_rate, BASE, peak * off, 100.0, **facts) < top for off in (0.9, 1.1))


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
        assert rates[8] * scaled(muon_rate, 8, batch, noise_scale) == pytest.approx(rates[batch], rel=0.04), batch


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("nesterov", [False, True])
def test_noise_left_is_the_sum_of_squared_weights(beta, nesterov):
    weights = (1 - beta) * beta ** np.arange(2000)
    if nesterov:
        weights = beta * weights
        weights[0] += 1 - beta
    assert weights.sum() == pytest.approx(1) and noise_left(beta, nesterov) == pytest.approx((weights**2).sum())


def test_a_large_epsilon_makes_adam_sgd():
    """SGD's rate is 1 / (1 + r B_noise / B) with B_noise = tr(S H) / g H g (arXiv 1812.06162)."""
    ratio, noise_scale, r = 0.5, 80.0, 0.1 / 1.9
    b_noise = noise_scale * ratio**2 / (1 + ratio**2)
    for batch in BATCHES:
        adam = scaled(adam_rate, BASE, batch, noise_scale, beta=0.9, curvature_ratio=ratio, epsilon_ratio=1e6)
        assert adam == pytest.approx((1 + r * b_noise / BASE) / (1 + r * b_noise / batch), rel=1e-6)


@pytest.mark.parametrize(("law", "facts"), [(adam_rate, {"curvature_ratio": 0.5}), (muon_rate, {"momentum": 0.9})])
def test_a_doubled_batch_far_below_and_far_above_the_noise_scale(law, facts):
    assert scaled(law, 1, 2, 1e6, **facts) == pytest.approx(2**0.5, rel=1e-3)
    assert scaled(law, 10**9, 2 * 10**9, 1e6, **facts) == pytest.approx(1, rel=1e-3)


def test_a_large_curvature_ratio_is_a_diagonal_hessian():
    for batch in BATCHES:
        far = scaled(adam_rate, BASE, batch, 30.0, beta=0.8, curvature_ratio=1e6)
        assert far == pytest.approx(scaled(adam_rate, BASE, batch, 30.0, beta=0.8))


@pytest.mark.parametrize("ratio", [1e-200, 1e200])
def test_a_law_is_finite_for_every_curvature_ratio_and_epsilon(ratio):
    assert scaled(adam_rate, 8, 64, 100.0, curvature_ratio=ratio) > 0
    assert scaled(adam_rate, 8, 64, 100.0, epsilon_ratio=ratio) > 0
    assert scaled(adabelief_rate, 8, 64, 100.0, beta=0.9, curvature_ratio=ratio, epsilon_ratio=ratio) > 0


BEST = {"rule": "best_step", "base_batch_size": 16, "noise_scale": 300.0}


def config(**values):
    return parse_config(OptimizerConfig, {"lr": 1e-3, **values}, "optimizer")


def test_adamw_follows_its_law_with_its_own_betas():
    scaled = config(name="adamw", betas=[0.9, 0.95], scale_lr=BEST).at_batch_size(1024)
    assert scaled.lr == pytest.approx(0.50e-3, abs=0.005e-3) and scaled.scale_lr is None
    slower = config(name="adamw", betas=[0.0, 0.95], scale_lr=BEST).at_batch_size(1024)
    assert slower.lr == pytest.approx(1e-3 * ((1 + 300 / 16) / (1 + 300 / 1024)) ** 0.5)


def test_muon_and_adamw_follow_each_its_own_law():
    scaled = config(name="muon", muon_rate=2.0, momentum=0.95, betas=[0.9, 0.95], scale_lr=BEST).at_batch_size(256)
    adamw = 1e-3 * adam_rate(300 / 256, 0.9) / adam_rate(300 / 16, 0.9)
    muon = 2e-3 * muon_rate(300 / 256, 0.95) / muon_rate(300 / 16, 0.95)
    assert scaled.lr == pytest.approx(adamw) and scaled.lr * scaled.muon_rate == pytest.approx(muon)
    assert adamw < 1e-3 and muon > 2e-3


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4), ("sqrt", 2)])
def test_plain_rules_move_both_alike(rule, factor):
    scaled = config(scale_lr={"rule": rule, "base_batch_size": 16}).at_batch_size(64)
    assert scaled.lr == pytest.approx(factor * 1e-3) and scaled.muon_rate == 1


def test_curvature_and_gradient_are_adamws():
    measured = {**BEST, "curvature_ratio": 0.6, "gradient_rms": 1e-8}
    for eps in (1e-8, 3e-8):
        scaled = config(name="adamw", eps=eps, scale_lr=measured).at_batch_size(64)
        at_64, at_16 = (adam_rate(300 / batch, 0.9, 0.6, eps / 1e-8) for batch in (64, 16))
        expected = 1e-3 * at_64 / at_16
        assert scaled.lr == pytest.approx(expected)


def test_the_second_moment_chooses_adamws_law():
    scaled = config(name="adamw", second_moment="centred", scale_lr=BEST).at_batch_size(64)
    assert scaled.lr == pytest.approx(1e-3 * adabelief_rate(300 / 64, 0.9) / adabelief_rate(300 / 16, 0.9))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"rule": "best_step"},
            "rule is best_step, which needs .* noise_scale is not set: .*, or choose linear or sqrt",
        ),
        (
            {"rule": "sqrt", "noise_scale": 3},
            "rule is sqrt, which takes nothing measured, but noise_scale is set: choose best_step, or remove it",
        ),
        (
            {"rule": "linear", "curvature_ratio": 3, "gradient_rms": 1},
            "rule is linear, .* but curvature_ratio and gradient_rms are set: choose best_step, or remove them",
        ),
    ],
)
def test_what_contradicts_is_an_error(values, message):
    with pytest.raises(ValueError, match="optimizer.scale_lr: " + message):
        parse_config(LrScalingConfig, {"base_batch_size": 8, **values}, "optimizer.scale_lr")


def test_adabelief_without_momentum_is_an_error():
    message = r"optimizer: second_moment is centred, .* but betas\[0\] is 0, .*: use raw, or betas\[0\] above 0"
    with pytest.raises(ValueError, match=message):
        config(second_moment="centred", betas=[0.0, 0.95], scale_lr=BEST)
