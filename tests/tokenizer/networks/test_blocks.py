"""Group normalisation is exact in every memory format, whatever the means."""

import pytest
import torch

from vistok.tokenizer.networks.norms import GROUPS, Norm


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("mean", [0.0, 10.0, 100.0])
def test_large_means_cost_no_digits(mean, memory_format):
    generator = torch.Generator().manual_seed(0)
    signs = torch.ones(1, 64, 1, 1)
    signs[:, 33::2] = -1  # half of the groups have one mean, half have two
    x = torch.randn(2, 64, 12, 20, generator=generator) + mean * signs
    norm = Norm(64, "group")
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
        norm.bias.normal_(generator=generator)
    given = x.contiguous(memory_format=memory_format).requires_grad_()
    exact = x.detach().double().requires_grad_()
    weight, bias = norm.weight.detach().double(), norm.bias.detach().double()
    expected = torch.group_norm(exact, GROUPS, weight, bias, eps=1e-6)
    result = norm(given)
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=0)
    upstream = torch.randn(x.shape, generator=generator)
    result.backward(upstream)
    expected.backward(upstream.double())
    torch.testing.assert_close(given.grad.double(), exact.grad, atol=1e-5, rtol=0)


def test_a_grid_of_one_position_is_normalised():
    x = torch.randn(1, 64, 1, 1, generator=torch.Generator().manual_seed(0))
    expected = torch.group_norm(x.double(), GROUPS, eps=1e-6)
    torch.testing.assert_close(Norm(64, "group")(x).double(), expected, atol=1e-5, rtol=0)


def test_a_large_grid_costs_no_digits():
    """As of 512 x 512 pixels, where torch's kernel for channels-last tensors is wrong by 2e-4."""
    x = torch.randn(1, 64, 512, 512, generator=torch.Generator().manual_seed(0)) + 1
    expected = torch.group_norm(x.double(), GROUPS, eps=1e-6)
    with torch.no_grad():
        found = Norm(64, "group")(x.contiguous(memory_format=torch.channels_last))
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
