"""The rotation trick and its variants against explicit matrices."""

import math

import pytest
import torch

from quantizer_table import gradient_of
from vistok.tokenizer.quantizers import GRADIENTS
from vistok.tokenizer.quantizers.rotations import rotation


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


def unit(x):
    return x / x.norm()


def reflecting(z, q):
    mirror = unit(unit(z) - unit(q))
    return torch.eye(len(z), dtype=z.dtype) - 2 * torch.outer(mirror, mirror)


def tangent(z, q):
    return explicit_rotation(z, q) @ (torch.eye(len(z), dtype=z.dtype) - torch.outer(unit(z), unit(z)))


MATRICES = {
    "rotation_no_scale": explicit_rotation,
    "rotation_tangent": lambda z, q: q.norm() / z.norm() * tangent(z, q),
    "reflection": lambda z, q: q.norm() / z.norm() * reflecting(z, q),
}


@pytest.mark.parametrize("name", MATRICES)
def test_variants_are_their_explicit_matrices(name):
    latent, codes, upstream = torch.randn(3, 20, 6, dtype=torch.float64)
    found = gradient_of(GRADIENTS[name], latent, codes, upstream)
    for z, q, g, expected in zip(latent, codes, upstream, found, strict=True):
        assert torch.allclose(MATRICES[name](z, q).T @ g, expected, atol=1e-10)


def test_tangent_is_what_differentiating_the_unit_vector_gives():
    # The released code: R.detach() @ (z / |z|) * |q|, with z / |z| left in the graph.
    z, q, g = torch.randn(3, 5, dtype=torch.float64)
    z.requires_grad_()
    (explicit_rotation(z.detach(), q) @ (z / z.norm()) * q.norm() @ g).backward()
    found = gradient_of(GRADIENTS["rotation_tangent"], z.detach()[None], q[None], g[None])[0]
    assert torch.allclose(found, z.grad, atol=1e-12)
    assert abs(found @ z.detach()) < 1e-12, "the part along z is gone"


@pytest.mark.parametrize("dim", [2, 3, 8])
def test_rotation_is_the_scaled_rotation_of_the_plane(dim):
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


@pytest.mark.parametrize("name", ["rotation", "rotation_tangent", "reflection"])
def test_the_scale_of_a_gradient_is_bounded_and_its_direction_is_not_touched(name):
    latent = torch.tensor([[3.0, 4.0]], dtype=torch.float64) / 5
    code = torch.tensor([[-2.0, 1.5]], dtype=torch.float64)
    upstream = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    lengths = [gradient_of(GRADIENTS[name], latent * length, code, upstream) for length in (1e-5, 1e-3, 0.026, 0.1)]
    assert torch.equal(GRADIENTS[name](latent * 1e-5, code), code), "the value is the code"
    ratios = [float((found / lengths[0]).mean()) for found in lengths]
    assert ratios == pytest.approx([1, 1, 2.5 / 0.026 / 100, 0.25]), "|q| is 2.5, so the bound is met at |z| = 0.025"
    assert lengths[0].norm() <= 100 * upstream.norm() * (1 + 1e-9)


def test_rotation_of_a_vector_onto_itself_is_the_identity():
    latent, upstream = torch.randn(6, 5), torch.randn(6, 5)
    assert torch.allclose(gradient_of(rotation, latent, latent, upstream), upstream, atol=1e-6)
