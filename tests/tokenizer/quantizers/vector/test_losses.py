"""Region loss, written from its definition."""

import pytest
import torch

from vistok.tokenizer.quantizers.vector.losses import region_loss


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
        index = codes.detach().tolist().index(e)
        expected[index] += 2 / 6 * (torch.tensor(e) - torch.tensor(z))
    assert torch.allclose(codes.grad, expected)


def test_is_zero_where_all_codes_are_used():
    codes = torch.randn(3, 2, requires_grad=True)
    loss = region_loss(torch.randn(3, 2), codes, torch.arange(3))
    loss.backward()
    assert loss.item() == 0 and not codes.grad.any()


@pytest.mark.parametrize("count", [1, 5, 200])
def test_region_loss_of_fewer_and_of_more_latents_than_codes(count):
    codes, vectors, indices = torch.randn(30, 4), torch.randn(count, 4), torch.randint(10, (count,))
    unused = torch.ones(30, dtype=torch.bool).index_fill(0, indices, False)
    distances = torch.cdist(codes[indices], codes).masked_fill(~unused, torch.inf)
    expected = (vectors - codes[distances.argmin(dim=1)]).square().mean()
    assert torch.allclose(region_loss(vectors, codes, indices), expected)
