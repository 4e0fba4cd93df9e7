import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers.vector import distribution_losses
from vistok.tokenizer.quantizers.vector.distribution_losses import DISTRIBUTIONS, mmd, wasserstein


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(np.clip(values, 0, None))) @ vectors.T


def test_wasserstein_is_the_textbook_formula():
    x, y = np.random.default_rng(0).normal(size=(2, 200, 4)) @ np.diag([1, 2, 0.5, 1.5])
    y = y * 2 + 1
    s1, s2 = np.cov(x.T, bias=True), np.cov(y.T, bias=True)
    cross = root(root(s1) @ s2 @ root(s1))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * cross)
    assert float(wasserstein(torch.tensor(x), torch.tensor(y))) == pytest.approx(expected, rel=1e-4)


def test_mmd_is_the_mean_kernel_over_pairs():
    x, y = torch.randn(12, 3, dtype=torch.float64), torch.randn(9, 3, dtype=torch.float64) + 1
    points = torch.cat([x, y])
    width = torch.stack([((a - b) ** 2).sum() for a in points for b in points]).mean()

    def kernel(a, b):
        return sum(float(torch.exp(-((a - b) ** 2).sum() / (2 * f * width))) for f in (0.25, 0.5, 1, 2, 4)) / 5

    def mean(left, right):
        return np.mean(
            [kernel(a, b) for i, a in enumerate(left) for j, b in enumerate(right) if left is not right or i != j]
        )

    assert float(mmd(x, y)) == pytest.approx(mean(x, x) + mean(y, y) - 2 * mean(x, y), rel=1e-6)


@pytest.mark.parametrize("loss", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_is_zero_for_equal_points_and_finite_in_degenerate_places(loss):
    points = torch.randn(50, 4)
    if loss is wasserstein:
        assert abs(loss(points, points.clone()).item()) < 1e-12
    flat = torch.zeros(50, 4, requires_grad=True)
    value = loss(points, flat)
    value.backward()
    assert value.isfinite() and flat.grad.isfinite().all()


@pytest.mark.parametrize(("rows", "codes"), [(10, 10), (40, 12), (2, 30)])
def test_mmd_of_one_distribution_is_zero_in_the_mean_and_below_it_as_often_as_above(rows, codes):
    draw = torch.Generator().manual_seed(0)
    found = np.array(
        [float(mmd(*torch.randn(rows + codes, 3, generator=draw).split([rows, codes]))) for _ in range(800)]
    )
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean()) < 4 * error
    assert 0.35 < (found < 0).mean() < 0.75


def test_mmd_does_not_grow_with_the_codebook_when_only_the_sample_shrinks():
    # Biased, the mean over 20 rows would be 1 / 20 above that over 1000.
    draw = torch.Generator().manual_seed(1)
    means = [
        np.mean(
            [float(mmd(torch.randn(n, 2, generator=draw), torch.randn(n, 2, generator=draw) + 1)) for _ in range(r)]
        )
        for n, r in ((20, 300), (500, 4))
    ]
    assert means[0] == pytest.approx(means[1], rel=0.15)


def test_mmd_of_a_side_of_one_row():
    codes = torch.randn(8, 3, requires_grad=True)
    value = mmd(torch.zeros(1, 3), codes)
    (gradient,) = torch.autograd.grad(value, codes)
    assert value.isfinite() and gradient.isfinite().all()


DEGENERATE = {
    "fewer than channels": lambda: torch.randn(16, 64),
    "doubled channels": lambda: torch.randn(100, 8).repeat(1, 2) * 20,
    "rank 2": lambda: torch.randn(200, 2) @ torch.randn(2, 64) * 30,
    "tiny": lambda: torch.randn(100, 8) * 1e-6,
    "huge": lambda: torch.randn(100, 8) * 1e6,
}


@pytest.mark.parametrize("make", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("both", [True, False])
def test_wasserstein_of_covariances_of_any_rank(make, both):
    x = make()
    y = (make() if both else torch.randn_like(x) * x.std()).requires_grad_()
    found = wasserstein(x, y)
    (gradient,) = torch.autograd.grad(found, y)
    # The optimal transport of a Gaussian keeps its scale: no gradient is out of proportion.
    assert gradient.isfinite().all()
    assert gradient.norm() < 10 * (x.norm() + y.detach().norm()) / len(y)
    a, b = x.double().numpy(), y.detach().double().numpy()
    s1, s2 = np.cov(a.T, bias=True), np.cov(b.T, bias=True)
    # tr (S1^1/2 S2 S1^1/2)^1/2 is the nuclear norm of A B^T / sqrt(n m) for the centred points themselves.
    cross = np.linalg.norm((a - a.mean(0)) @ (b - b.mean(0)).T, "nuc") / np.sqrt(len(a) * len(b))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * cross
    assert abs(float(found.detach()) - expected) < 1e-3 * (np.trace(s1) + np.trace(s2))


@pytest.mark.parametrize(("name", "rate"), [("wasserstein", 8.0), ("mmd", 30.0)])
def test_descent_brings_the_codes_to_the_latents(name, rate):
    latents = torch.randn(400, 3) * torch.tensor([1.0, 2.0, 0.5]) + 3
    codes = (torch.randn(64, 3) * 0.01).requires_grad_()
    loss = DISTRIBUTIONS[name]
    first = float(loss(latents, codes).detach())
    for _ in range(100):
        (gradient,) = torch.autograd.grad(loss(latents, codes), codes)
        with torch.no_grad():
            codes -= rate * gradient
    assert float(loss(latents, codes).detach()) < first / 10
    assert (codes.mean(dim=0) - latents.mean(dim=0)).abs().max() < 0.5


def test_mmd_sees_what_wasserstein_cannot():
    sign = torch.tensor([1.0, -1.0]).repeat(500).unsqueeze(1)
    two_peaks = sign * 2 + torch.randn(1000, 1) * 0.1
    one_peak = torch.randn(1000, 1) * two_peaks.std() + two_peaks.mean()
    assert float(wasserstein(two_peaks, one_peak)) < 0.1
    assert float(mmd(two_peaks, one_peak)) > 5 * float(mmd(one_peak, torch.randn(1000, 1) * two_peaks.std()))


@pytest.mark.parametrize("scale", [1e-30, 1e-15, 1e15, 1e30])
def test_mmd_is_the_same_at_every_scale(scale):
    points = torch.randn(60, 3, dtype=torch.float64) + torch.arange(60).div(20, rounding_mode="floor").unsqueeze(1)
    x, y = points.float().split(30)
    codes = (y * scale).requires_grad_()
    found = mmd(x * scale, codes)
    assert found.item() == pytest.approx(mmd(x, y).item(), rel=1e-4)
    found.backward()
    assert codes.grad.isfinite().all() and (codes.grad != 0).any()


@pytest.mark.parametrize("loss", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_latent_that_is_not_finite_gives_nan_and_no_error(loss, broken):
    points = torch.randn(50, 4)
    points[3, 1] = broken
    assert loss(points, torch.randn(20, 4)).isnan()


@pytest.mark.parametrize("condition", [1.0, 1e-5, 0.0])
def test_what_a_gpu_calculates_without_a_wait_is_the_decomposition(condition):
    matrix = torch.randn(7, 7, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix)
    values[-2:] *= condition
    matrix = left @ values.diag() @ right
    factor = distribution_losses._orthogonal_factor(matrix)
    assert torch.allclose((matrix * factor).sum(), values.sum(), rtol=1e-9)
    if condition:
        assert torch.allclose(factor, left @ right, atol=1e-6)
    assert not distribution_losses._orthogonal_factor(torch.zeros(3, 3)).any()
