"""The bound on the error of a sum of bfloat16 products, against an emulation of tensor cores in float64."""

import pytest
import torch

from tensor_cores import scores_of_parts
from vistok.tokenizer.quantizers.search.kernels.rounding import factors


def bound_of(vectors, codes, is_dot):
    """Return the bound for each vector and code, `n k`, with the code's own length as reach."""
    size, reach = vectors.double().norm(dim=1, keepdim=True), codes.double().norm(dim=1)
    products, scores, absolute = factors(vectors.shape[1])
    scale = size * reach if is_dot else reach * (size + reach)
    return products * size * reach + scores * scale + absolute * (1 + size + reach)


def halfway(count, dim):
    """Values that lie just beside the middle between two of bfloat16, in both parts, all of one sign."""
    signs = torch.randint(0, 2, (count, 1)) * 2.0 - 1
    return (
        signs * (1 + 2.0**-8 + 2.0**-16 + 2.0**-17 * torch.rand(count, dim)) * 2.0 ** torch.randint(-3, 4, (count, 1))
    )


def one_large(count, dim):
    """One large channel, after which every small product is cut."""
    values = torch.rand(count, dim) * 2**-11 + 2**-11
    values[:, 0] = 1 + torch.rand(count)
    return values


KINDS = {
    "random": torch.randn,
    "positive": torch.rand,
    "halfway": halfway,
    "one large": one_large,
    "of many sizes": lambda *shape: torch.randn(shape) * 2.0 ** torch.randint(-30, 30, shape),
    "tiny": lambda *shape: torch.randn(shape) * 1e-20,
}


@pytest.mark.parametrize("added", [4, 8, 16])
@pytest.mark.parametrize("dim", [1, 8, 42, 64, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_no_score_is_off_by_more_than_the_bound(kind, dim, added):
    vectors, codes = KINDS[kind](20, dim), KINDS[kind](30, dim)
    for is_dot in (True, False):
        offsets = torch.zeros(30) if is_dot else codes.square().sum(dim=1) / -2
        found = scores_of_parts(vectors, codes, offsets, added)
        true = vectors.double() @ codes.double().T - (0 if is_dot else codes.double().square().sum(dim=1) / 2)
        ratio = ((found - true).abs() / bound_of(vectors, codes, is_dot)).max()
        assert ratio <= 1


def test_the_bound_is_not_far_from_the_worst():
    vectors, codes = halfway(40, 8), halfway(40, 8)
    error = (scores_of_parts(vectors, codes, torch.zeros(40), 16) - vectors.double() @ codes.double().T).abs()
    assert 0.3 < (error / bound_of(vectors, codes, True)).max() <= 1
