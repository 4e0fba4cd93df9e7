import math
from typing import get_args

import pytest
import torch
from torch.nn import functional

from vistok.tokenizer.quantizers import GRADIENTS
from vistok.tokenizer.quantizers.gradient_carriers import damp_short
from vistok.tokenizer.quantizers.gradients import GradientName, diveq, rotation, straight_through


def gradient_of(estimator, latent, codes, upstream):
    latent = latent.clone().requires_grad_()
    (estimator(latent, codes) * upstream).sum().backward()
    return latent.grad


def test_names_are_those_of_the_table_and_soft():
    assert set(get_args(GradientName)) == {*GRADIENTS, "soft"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("estimator", GRADIENTS.values(), ids=GRADIENTS)
def test_every_estimator_keeps_the_type(estimator, dtype):
    latent, codes = torch.randn(2, 20, 4, dtype=dtype)
    assert gradient_of(estimator, latent, codes[:4].repeat(5, 1), torch.ones_like(codes)).dtype == dtype


def test_normalisation_has_a_bounded_gradient_and_the_same_values():
    vectors = torch.randn(200, 5) * torch.logspace(-15, 3, 200)[:, None]
    vectors[0] = 0
    vectors.requires_grad_()
    assert torch.equal(damp_short(vectors), vectors)
    upstream = torch.randn(200, 5)
    found = torch.autograd.grad((functional.normalize(damp_short(vectors), dim=1) * upstream).sum(), vectors)[0]
    assert (found.norm(dim=1) <= 1001 * upstream.norm(dim=1)).all() and torch.equal(found[0], torch.zeros(5))
    plain = torch.autograd.grad((functional.normalize(vectors, dim=1) * upstream).sum(), vectors)[0]
    ordinary = vectors.norm(dim=1) > 1e-3
    assert torch.equal(found[ordinary], plain[ordinary]) and 50 < ordinary.sum() < 150


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
def test_gradient_is_finite_at_the_worst_places(estimator):
    places = torch.tensor([[0.0, 0, 0], [1e-20, 0, 0], [1, 2, 3], [-1, -2, -3], [1e18, 0, 0], [1, 2, 3.0000002]])
    latent, codes = (x.reshape(-1, 3) for x in (places.repeat(6, 1), places.repeat_interleave(6, dim=0)))
    assert gradient_of(estimator, latent, codes, torch.ones_like(codes)).isfinite().all()


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


def test_dynamic_straight_through_weighs_by_the_least_distance_to_the_code():
    codes = torch.tensor([[0.0, 0.0], [5.0, 5.0]])
    latent = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 0.0], [5.0, 6.0], [5.0, 5.5]])
    found = gradient_of(GRADIENTS["dynamic_straight_through"], latent, codes[[0, 0, 0, 1, 1]], torch.ones(5, 2))
    assert torch.allclose(found, torch.tensor([1.0, 0.5, 0.25, 0.5, 1.0])[:, None].expand(5, 2))
    alike = gradient_of(GRADIENTS["dynamic_straight_through"], -latent, -latent, torch.ones(5, 2))
    assert torch.equal(alike, torch.ones(5, 2)), "latents on their code keep the whole gradient"


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
    felt = (g * direction).sum(dim=1, keepdim=True) * along
    assert torch.allclose(q.grad, felt) and torch.allclose(z.grad, g - felt)
    assert torch.allclose(diveq(z, q, variance=0.0), q), "without noise the value is the code"


def test_nsvq_errs_as_far_as_the_code_does_in_any_direction():
    z, q = torch.randn(2, 4000, 6)
    error = GRADIENTS["nsvq"](z, q) - z
    assert torch.allclose(error.norm(dim=1), (q - z).norm(dim=1), rtol=1e-4)
    assert (error / error.norm(dim=1, keepdim=True)).mean(dim=0).abs().max() < 0.05


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
