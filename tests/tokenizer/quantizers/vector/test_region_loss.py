"""Region loss, written down from its definition."""

import pytest
import torch

from vistok.tokenizer.quantizers.vector.region_loss import region_loss


def test_latents_pull_the_unused_code_nearest_to_their_own():
    codes = torch.tensor([[0.0, 0.0], [10.0, 0.0], [9.0, 1.0], [0.0, 2.0], [50.0, 50.0]], requires_grad=True)
    vectors, indices = torch.tensor([[0.5, 0.0], [10.0, 1.0], [0.0, -1.0]]), torch.tensor([0, 1, 0])
    loss = region_loss(vectors, codes, indices)
    # Code 3 is the unused one nearest to code 0, code 2 that nearest to code 1; code 4 is near to none.
    pairs = [([0.5, 0.0], [0.0, 2.0]), ([10.0, 1.0], [9.0, 1.0]), ([0.0, -1.0], [0.0, 2.0])]
    assert loss.item() == pytest.approx(sum((a - b) ** 2 for z, e in pairs for a, b in zip(z, e, strict=True)) / 6)
    loss.backward()
    expected = torch.zeros(5, 2)
    for z, e in pairs:
        place = codes.detach().tolist().index(e)
        expected[place] += 2 / 6 * (torch.tensor(e) - torch.tensor(z))
    assert torch.allclose(codes.grad, expected)


def test_is_zero_where_all_codes_are_used():
    codes = torch.randn(3, 2, requires_grad=True)
    loss = region_loss(torch.randn(3, 2), codes, torch.arange(3))
    loss.backward()
    assert loss.item() == 0 and not codes.grad.any()
