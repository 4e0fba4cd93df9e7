"""Gradient estimators against their formulas."""

import pytest
import torch
from torch.nn import functional

from quantizer_table import gradient_of
from vistok.tokenizer.quantizers import GRADIENTS
from vistok.tokenizer.quantizers.gradients import diveq, straight_through


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("estimator", GRADIENTS.values(), ids=GRADIENTS)
def test_every_estimator_keeps_the_type(estimator, dtype):
    latent, codes = torch.randn(2, 20, 4, dtype=dtype)
    assert gradient_of(estimator, latent, codes[:4].repeat(5, 1), torch.ones_like(codes)).dtype == dtype


NOISY = {"diveq", "nsvq"}


EXACT = {name: estimator for name, estimator in GRADIENTS.items() if name not in NOISY}


@pytest.mark.parametrize("estimator", EXACT.values(), ids=EXACT)
def test_value_is_the_code_bit_for_bit(estimator):
    latent, codes = torch.randn(500, 7) * 3, torch.randn(500, 7)
    assert torch.equal(estimator(latent, codes), codes)


@pytest.mark.parametrize("estimator", EXACT.values(), ids=EXACT)
def test_no_gradient_reaches_the_code(estimator):
    codes = torch.randn(5, 3, requires_grad=True)
    result = estimator(torch.randn(5, 3, requires_grad=True), codes)
    assert torch.autograd.grad(result.sum(), codes, allow_unused=True) == (None,)


@pytest.mark.parametrize("estimator", GRADIENTS.values(), ids=GRADIENTS)
def test_gradient_is_bounded_however_short_the_latent(estimator):
    codes, upstream = torch.randn(300, 4), torch.randn(300, 4)
    latent = functional.normalize(torch.randn(300, 4), dim=1) * torch.logspace(-9, 0, 300)[:, None]
    found = gradient_of(estimator, latent, codes, upstream)
    assert (found.norm(dim=1) <= 101 * upstream.norm(dim=1)).all()


@pytest.mark.parametrize("estimator", GRADIENTS.values(), ids=GRADIENTS)
def test_gradient_is_finite_at_the_worst_points(estimator):
    points = torch.tensor([[0.0, 0, 0], [1e-20, 0, 0], [1, 2, 3], [-1, -2, -3], [1e18, 0, 0], [1, 2, 3.0000002]])
    latent, codes = (x.reshape(-1, 3) for x in (points.repeat(6, 1), points.repeat_interleave(6, dim=0)))
    assert gradient_of(estimator, latent, codes, torch.ones_like(codes)).isfinite().all()


def test_straight_through_copies_the_gradient():
    upstream = torch.randn(9, 4)
    assert torch.equal(gradient_of(straight_through, torch.randn(9, 4), torch.randn(9, 4), upstream), upstream)


def test_dynamic_straight_through_weighs_by_the_min_distance_to_the_code():
    codes = torch.tensor([[0.0, 0.0], [5.0, 5.0]])
    latent = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 0.0], [5.0, 6.0], [5.0, 5.5]])
    found = gradient_of(GRADIENTS["dynamic_straight_through"], latent, codes[[0, 0, 0, 1, 1]], torch.ones(5, 2))
    assert torch.allclose(found, torch.tensor([1.0, 0.5, 0.25, 0.5, 1.0])[:, None].expand(5, 2))
    alike = gradient_of(GRADIENTS["dynamic_straight_through"], -latent, -latent, torch.ones(5, 2))
    assert torch.equal(alike, torch.ones(5, 2)), "latents on their code keep the whole gradient"


@pytest.mark.parametrize("dim", [1, 2, 24])
def test_dynamic_straight_through_knows_which_codes_are_equal(dim):
    codes = torch.randint(-1, 2, (3000, dim)) * torch.tensor([1.0, -1.0]).repeat(1500).unsqueeze(1)  # with 0 and -0
    latent = torch.randn(3000, dim)
    distances = (latent - codes).norm(dim=1)
    equal = (codes.unsqueeze(1) == codes).all(dim=2)
    nearest = torch.where(equal, distances, torch.inf).amin(dim=1)
    found = gradient_of(GRADIENTS["dynamic_straight_through"], latent, codes, torch.ones(3000, dim))
    assert torch.equal(found, (nearest / distances).unsqueeze(1).expand(3000, dim))


def test_diveq_is_its_formula_and_moves_both_sides():
    z, q, g = torch.randn(3, 40, 6, dtype=torch.float64)
    z.requires_grad_()
    q.requires_grad_()
    torch.manual_seed(4)
    value = diveq(z, q, variance=1e-2)
    value.backward(g)
    torch.manual_seed(4)
    noise = torch.randn(40, 6, dtype=torch.float64) * 0.1
    difference = (q - z).detach()
    along = difference / difference.norm(dim=1, keepdim=True)
    direction = (difference + noise) / (difference + noise).norm(dim=1, keepdim=True)
    assert torch.allclose(value, z + difference.norm(dim=1, keepdim=True) * direction)
    moved = (g * direction).sum(dim=1, keepdim=True) * along
    assert torch.allclose(q.grad, moved) and torch.allclose(z.grad, g - moved)
    assert torch.allclose(diveq(z, q, variance=0.0), q), "without noise the value is the code"


def test_nsvq_errs_as_far_as_the_code_does_in_any_direction():
    z, q = torch.randn(2, 4000, 6)
    error = GRADIENTS["nsvq"](z, q) - z
    assert torch.allclose(error.norm(dim=1), (q - z).norm(dim=1), rtol=1e-4)
    assert (error / error.norm(dim=1, keepdim=True)).mean(dim=0).abs().max() < 0.05
