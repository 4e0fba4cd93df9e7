"""Soft top-k against its definition, evaluated in float64 by bisection, and its derivatives against finite differences."""

import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers.vector.soft_assignment import soft_topk


@pytest.mark.parametrize(("entries", "k"), [(2, 1), (5, 2), (9, 8), (40, 3)])
@pytest.mark.parametrize("spread", [0.1, 3.0, 40.0])
def test_weights_are_those_of_the_threshold_that_sums_to_k(entries, k, spread):
    x = torch.randn(30, entries, dtype=torch.float64) * spread
    found = soft_topk(x, k)
    assert torch.allclose(found.sum(dim=1), torch.full((30,), float(k), dtype=torch.float64), atol=1e-9)
    assert np.abs(found.numpy() - bisected(x.numpy(), k)).max() < 1e-9


def test_weights_are_monotone_shift_invariant_and_become_hard():
    x = torch.randn(50, 12, dtype=torch.float64)
    found = soft_topk(x, 3)
    assert torch.equal(found.argsort(dim=1), x.argsort(dim=1))
    assert torch.allclose(soft_topk(x + 17, 3), found, atol=1e-9)
    hard = torch.zeros_like(x).scatter(1, x.topk(3, dim=1).indices, 1.0)
    assert torch.allclose(soft_topk(x * 1e5, 3), hard, atol=1e-2)


def test_gradient_is_that_of_finite_differences():
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda scores: soft_topk(scores, 2), (x,))


def test_with_k_of_one_it_is_the_softmax():
    x = torch.randn(20, 7) * 5
    assert torch.allclose(soft_topk(x, 1), torch.softmax(x, dim=1), atol=1e-6)


@pytest.mark.parametrize("spread", [1, 10, 30, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_of_sure_choices_is_that_of_the_softmax(spread, dtype):
    x = (torch.randn(2000, 30, dtype=torch.float64) * spread).to(dtype).requires_grad_()
    upstream = torch.randn(2000, 30, dtype=torch.float64)
    (found,) = torch.autograd.grad((soft_topk(x, 1) * upstream).sum(), x)
    exact = x.detach().double().requires_grad_()
    (expected,) = torch.autograd.grad((torch.softmax(exact, dim=1) * upstream).sum(), exact)
    assert (found.double() - expected).abs().max() < (1e-4 if dtype == torch.float32 else 1e-11)


@pytest.mark.parametrize("gap", [36, 40, 100])
def test_gradient_of_the_softmax_keeps_its_digits_where_a_weight_rounds_to_one(gap):
    x = torch.tensor([0.0, -gap, -gap - 1, -gap - 3], dtype=torch.float64, requires_grad=True)
    upstream = torch.tensor([1.0, 2, 5, -3], dtype=torch.float64)
    (found,) = torch.autograd.grad((soft_topk(x, 1) * upstream).sum(), x)
    p = np.exp(x.detach().numpy())[1:] / np.exp(x.detach().numpy()).sum()
    assert found[1:].numpy() == pytest.approx(p * np.array([1, 4, -4]), rel=1e-10, abs=0)


def test_k_must_be_below_the_number_of_codes():
    with pytest.raises(ValueError, match="k = 4 for 4 codes: k must be below the number of codes"):
        soft_topk(torch.zeros(1, 4), 4)


HARD_ROWS = {
    "ordinary": lambda r: r.standard_normal((20, 9)) * 3,
    "offset of 1e6": lambda r: 1e6 + r.standard_normal((20, 9)) * 3,
    "offset of -1e6": lambda r: -1e6 + r.standard_normal((20, 9)) * 3,
    "two alike": lambda r: r.standard_normal((20, 9))[:, [0, 1, 2, 3, 4, 4, 3, 2, 0]],
    "all alike": lambda r: np.full((3, 9), 0.7),
    "one far ahead": lambda r: np.where(np.arange(9) == 4, 1e7, r.standard_normal((20, 9))),
    "one far behind": lambda r: np.where(np.arange(9) == 4, -1e7, r.standard_normal((20, 9))),
    "two camps": lambda r: np.where(np.arange(9) < 4, 3e6, -2e6) + r.standard_normal((20, 9)),
    "powers of ten": lambda r: 10.0 ** r.uniform(-6, 8, (20, 9)) * r.choice([-1, 1], (20, 9)),
    "huge": lambda r: r.standard_normal((20, 9)) * 1e37,
    "tiny": lambda r: r.standard_normal((20, 9)) * 1e-30,
}


def weight(x):
    return np.exp(np.minimum(x, 0))


def bisected(x, k):
    """Return the weights of rows, in float64 and relative to their k-th highest entries, by bisection."""
    x = np.clip(x - np.sort(x, axis=1)[:, [-k]], -2e3, 2e3)
    low, high = np.full((len(x), 1), -3e3), np.full((len(x), 1), 3e3)
    for _ in range(80):
        middle = (low + high) / 2
        is_low = weight(x - middle).sum(axis=1, keepdims=True) > k
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return weight(x - low)


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_float32_weights_and_gradients_are_the_bisected_ones(k):
    rows = np.concatenate([make(np.random.default_rng(0)) for make in HARD_ROWS.values()])
    x = torch.tensor(rows, dtype=torch.float32).requires_grad_()
    weights = soft_topk(x, k)
    upstream = torch.randn_like(x)
    (found,) = torch.autograd.grad((weights * upstream).sum(), x)
    expected, g = bisected(x.detach().double().numpy(), k), upstream.double().numpy()
    assert np.abs(weights.detach().double().numpy() - expected).max() < 1e-6
    slope = np.where(expected > 1 - 1e-14, 0, expected)
    mean = (slope * g).sum(axis=1, keepdims=True) / np.maximum(slope.sum(axis=1, keepdims=True), 1e-300)
    assert np.abs(found.double().numpy() - slope * (g - mean)).max() < 1e-5


@pytest.mark.parametrize("k", [1, 3, 6])
def test_an_offset_of_a_million_changes_nothing_that_float32_can_hold(k):
    # Multiples of 1/8 stay as they are when 1e6 is added.
    x = torch.randint(-40, 40, (200, 7)).float() / 8
    assert torch.equal(soft_topk(x + 1e6, k), soft_topk(x, k))
    assert torch.equal(soft_topk(x - 1e6, k), soft_topk(x, k))


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize(
    "row", [[0.3, -1.2, 2.0, 0.9, -0.1], [0.5, 0.5, -1.0, 0.5, 1.1], [0.0] * 5, [6.0, -6.0, 0, 1, 2]]
)
def test_derivatives_of_both_orders_are_those_of_finite_differences(row, k):
    x = torch.tensor([row], dtype=torch.float64, requires_grad=True)
    weights = soft_topk(x, k)
    if (weights > 1 - 1e-9).any() or (len(set(row)) < 5 and k > 1):
        weights = weights.detach()
        kinks = weights > 1 - 1e-9  # there the slope is that of the side where the weight stays 1
        (found,) = torch.autograd.grad(soft_topk(x, k)[:, 0].sum(), x)
        assert found.isfinite().all() and not found[kinks].any()
        return
    assert torch.autograd.gradcheck(lambda scores: soft_topk(scores, k), (x,))
    assert torch.autograd.gradgradcheck(lambda scores: soft_topk(scores, k), (x,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_of_minus_infinity_take_no_part(dtype):
    x = torch.randn(50, 6, dtype=dtype)
    masked = torch.cat([x, torch.full((50, 3), -torch.inf, dtype=dtype)], dim=1)[:, torch.randperm(9)].requires_grad_()
    kept = ~masked.isinf()
    for k in (1, 3, 5):
        found, expected = soft_topk(masked, k), soft_topk(masked.detach()[kept].reshape(50, 6), k)
        assert torch.allclose(found[kept], expected.flatten()) and not found[~kept].any()
        (gradient,) = torch.autograd.grad((found * torch.randn_like(found)).sum(), masked)
        assert gradient.isfinite().all() and not gradient[~kept].any()
    # All of those that take part are taken, and what is missing is shared by the others.
    assert torch.allclose(soft_topk(masked.detach(), 6)[kept], torch.ones((), dtype=dtype), atol=1e-6)
    shared = soft_topk(masked.detach(), 8)[~kept]
    assert torch.allclose(shared, torch.tensor(2 / 3, dtype=dtype), atol=1e-6)


@pytest.mark.parametrize("k", [1, 3])
def test_a_nan_score_makes_the_weights_nan(k):
    x = torch.randn(3, 6)
    x[1, 4] = torch.nan
    found = soft_topk(x, k)
    assert found[1].isnan().any() and found[[0, 2]].isfinite().all()
