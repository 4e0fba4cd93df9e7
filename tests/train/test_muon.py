"""Muon as the trainer uses it: what it does to matrices, and that timm's own is the same but for rounding."""

import pytest
import timm.optim.muon as timm_muon
import torch
from torch import nn

from vistok.train.muon import Muon, orthogonalize

QUINTIC = timm_muon._COEFFICIENTS["quintic"]


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24), (3, 8, 20)])
@pytest.mark.parametrize("coefficients", ["original", "quintic", "polar_express"])
def test_gram_iteration_equals_timms_in_float64(shape, coefficients):
    torch.manual_seed(0)
    matrix = torch.randn(shape, dtype=torch.float64)
    triples = timm_muon._COEFFICIENTS[coefficients]
    ours = orthogonalize(matrix, 5, triples, dtype=torch.float64)
    theirs = timm_muon.zeropower_via_newtonschulz(matrix, 5, triples, dtype=torch.float64)
    assert torch.allclose(ours, theirs, atol=1e-9)


def test_float32_is_close_to_float64_for_ill_conditioned_matrices():
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(32, 32))[0], torch.linalg.qr(torch.randn(80, 80))[0][:32]
    matrix = left @ torch.diag(torch.logspace(0, -4, 32)) @ right
    exact = orthogonalize(matrix.double(), 5, QUINTIC, dtype=torch.float64)
    assert (orthogonalize(matrix, 5, QUINTIC).double() - exact).abs().max() < 1e-3


def test_singular_values_become_one():
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(20, 60), 5, QUINTIC))
    assert values.min() > 0.6 and values.max() < 1.3


def one_step(optimizer_class, weight, gradient, **options):
    parameter = nn.Parameter(weight.clone())
    parameter.grad = gradient.clone()
    group = {"params": [parameter], "use_muon": True, "nesterov": True}
    optimizer_class([group], lr=0.1, adjust_lr_fn="match_rms_adamw", **options).step()
    return parameter.detach(), parameter.grad


def test_convolutions_are_flattened_to_out_by_the_rest_and_scaled_from_that_shape():
    torch.manual_seed(0)
    weight, gradient = torch.randn(8, 6, 3, 3), torch.randn(8, 6, 3, 3)
    after, _ = one_step(Muon, weight, gradient)
    direction = orthogonalize(gradient.flatten(1), 5, QUINTIC)  # the momentum of a first step is along the gradient
    expected = weight - 0.1 * 0.2 * (6 * 9) ** 0.5 * direction.view_as(weight)
    assert torch.allclose(after, expected, atol=1e-5)


def test_gradient_is_left_as_it_was():
    weight, gradient = torch.randn(4, 5), torch.randn(4, 5)
    assert torch.equal(one_step(Muon, weight, gradient)[1], gradient)


def test_timm_itself_is_untouched():
    original = timm_muon.zeropower_via_newtonschulz
    one_step(Muon, torch.randn(4, 5), torch.randn(4, 5))
    assert timm_muon.zeropower_via_newtonschulz is original
