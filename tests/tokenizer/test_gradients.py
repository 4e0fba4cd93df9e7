import math

import pytest
import torch

from vistok.tokenizer.quantizers import GRADIENTS
from vistok.tokenizer.quantizers.gradients import rotation, straight_through


def gradient_of(estimator, latent, codes, upstream):
    latent = latent.clone().requires_grad_()
    (estimator(latent, codes) * upstream).sum().backward()
    return latent.grad


@pytest.mark.parametrize("estimator", GRADIENTS.values(), ids=GRADIENTS)
def test_value_is_the_code_bit_for_bit(estimator):
    latent, codes = torch.randn(500, 7) * 3, torch.randn(500, 7)
    assert torch.equal(estimator(latent, codes), codes)


@pytest.mark.parametrize("estimator", GRADIENTS.values(), ids=GRADIENTS)
def test_no_gradient_reaches_the_code(estimator):
    codes = torch.randn(5, 3, requires_grad=True)
    result = estimator(torch.randn(5, 3, requires_grad=True), codes)
    assert torch.autograd.grad(result.sum(), codes, allow_unused=True) == (None,)


def test_straight_through_copies_the_gradient():
    upstream = torch.randn(9, 4)
    assert torch.equal(gradient_of(straight_through, torch.randn(9, 4), torch.randn(9, 4), upstream), upstream)


def explicit_rotation(z, q):
    """The rotation by the angle between z and q in their plane, built from an orthonormal basis of the plane."""
    u = z / z.norm()
    v = q / q.norm()
    w = v - (v @ u) * u
    w = w / w.norm()
    angle = math.atan2(float(v @ w), float(v @ u))
    plane = torch.stack([u, w], dim=1)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=z.dtype)
    eye = torch.eye(len(z), dtype=z.dtype)
    return eye + plane @ (turn - torch.eye(2, dtype=z.dtype)) @ plane.T


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_rotation_is_the_scaled_rotation_of_the_plane(dim):
    torch.manual_seed(dim)
    latent = torch.randn(20, dim, dtype=torch.float64)
    codes = torch.randn(20, dim, dtype=torch.float64)
    upstream = torch.randn(20, dim, dtype=torch.float64)
    found = gradient_of(rotation, latent, codes, upstream)
    for z, q, g, expected in zip(latent, codes, upstream, found, strict=True):
        matrix = explicit_rotation(z, q)
        assert torch.allclose(matrix @ z * q.norm() / z.norm(), q)
        assert torch.allclose(matrix.T @ g * q.norm() / z.norm(), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("latent", "code"),
    [
        ([1.0, 2.0], [-1.0, -2.0]),
        ([1.0, 0.0], [-3.0, 1e-6]),
        ([0.0, 0.0], [1.0, 2.0]),
        ([1e-9, 0.0], [1.0, 2.0]),
        ([1.0, 2.0], [0.0, 0.0]),
        ([0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_rotation_is_straight_through_where_it_is_not_defined(latent, code):
    upstream = torch.tensor([[0.3, -0.7]])
    found = gradient_of(rotation, torch.tensor([latent]), torch.tensor([code]), upstream)
    assert torch.equal(found, upstream)


def test_rotation_of_a_vector_onto_itself_is_the_identity():
    latent, upstream = torch.randn(6, 5), torch.randn(6, 5)
    assert torch.allclose(gradient_of(rotation, latent, latent, upstream), upstream, atol=1e-6)
