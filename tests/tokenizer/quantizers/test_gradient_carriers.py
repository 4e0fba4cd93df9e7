"""Values that carry another gradient."""

import torch
from torch.nn import functional

from vistok.tokenizer.quantizers.gradient_carriers import damp_short


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
