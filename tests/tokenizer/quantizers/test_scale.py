"""Vectors on the unit sphere, and the gradient of normalising them."""

import torch
from torch.nn import functional

from vistok.tokenizer.quantizers.scale import on_unit_sphere


def test_normalisation_has_a_bounded_gradient_and_the_same_values():
    vectors = torch.randn(200, 5) * torch.logspace(-15, 3, 200)[:, None]
    vectors[0] = 0
    vectors.requires_grad_()
    with torch.no_grad():
        expected = on_unit_sphere(vectors)
    points = on_unit_sphere(vectors)
    assert torch.equal(points, expected) and torch.allclose(points[1:].norm(dim=1), torch.ones(199))
    upstream = torch.randn(200, 5)
    found = torch.autograd.grad((points * upstream).sum(), vectors)[0]
    assert (found.norm(dim=1) <= 1001 * upstream.norm(dim=1)).all() and torch.equal(found[0], torch.zeros(5))
    plain = torch.autograd.grad((functional.normalize(vectors, dim=1) * upstream).sum(), vectors)[0]
    ordinary = vectors.norm(dim=1) > 1e-3
    assert torch.equal(found[ordinary], plain[ordinary]) and 50 < ordinary.sum() < 150
