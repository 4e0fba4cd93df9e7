"""Sign codes and their entropies, against enumeration of all codes."""

import itertools
import math

import pytest
import torch
from einops import rearrange

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.entropy import assignment_entropies, binary_entropies


def all_codes(dim):
    """Every sign pattern, the first channel changing fastest."""
    return torch.tensor([pattern[::-1] for pattern in itertools.product([-1.0, 1.0], repeat=dim)], dtype=torch.float64)


@pytest.mark.parametrize(("name", "scale"), [("lfq", 1.0), ("bsq", 6**-0.5)])
def test_tokens_index_the_nearest_of_all_codes_first_channel_least_significant(name, scale):
    quantizer = build_quantizer({"name": name, "dim": 6})
    latent = torch.randn(2, 6, 4, 4)
    codes = all_codes(6) * scale
    point = rearrange(quantizer.to_code_space(latent), "b d y x -> (b y x) d").double()
    nearest = torch.cdist(point, codes).argmin(dim=1)
    result = quantizer(latent)
    assert torch.equal(result.tokens.flatten(), nearest)
    assert torch.allclose(rearrange(result.latent, "b d y x -> (b y x) d").double(), codes[nearest])


def test_bits_are_packed_as_integers():
    quantizer = build_quantizer({"name": "lfq", "dim": 62})
    latent = torch.ones(1, 62, 1, 1)
    assert int(quantizer(latent).tokens) == 2**62 - 1 and quantizer.vocab_size == 2**62
    latent[0, 0] = -1
    assert int(quantizer(latent).tokens) == 2**62 - 2


def test_zero_is_a_negative_sign():
    assert int(build_quantizer({"name": "lfq", "dim": 3})(torch.zeros(1, 3, 1, 1)).tokens) == 0


def dense(point, codes, temperature):
    p = torch.softmax(-torch.cdist(point, codes).square() / temperature, dim=1)
    mean = p.mean(dim=0)
    return -torch.special.xlogy(p, p).sum(dim=1).mean(), -torch.special.xlogy(mean, mean).sum()


@pytest.mark.parametrize(("name", "scale"), [("lfq", 1.0), ("bsq", 6**-0.5)])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_entropies_are_those_over_all_codes(name, scale, temperature):
    quantizer = build_quantizer({"name": name, "dim": 6, "entropy_bits": 6, "temperature": temperature})
    latent = torch.randn(2, 6, 4, 4, requires_grad=True)
    losses = quantizer(latent).losses
    point = rearrange(quantizer.to_code_space(latent), "b d y x -> (b y x) d").double()
    sample, codebook = dense(point, all_codes(6) * scale, temperature)
    assert losses["sample_entropy"].item() == pytest.approx(sample.item(), abs=1e-4)
    assert losses["codebook_entropy"].item() == pytest.approx(-codebook.item(), abs=1e-4)
    found = torch.autograd.grad(losses["codebook_entropy"] + losses["sample_entropy"], latent, retain_graph=True)[0]
    expected = torch.autograd.grad(sample - codebook, latent)[0]
    assert torch.allclose(found, expected, atol=1e-3)


def test_groups_bound_the_codebook_entropy_from_above():
    logits = torch.randn(200, 8) @ torch.randn(8, 8)
    entropies = [-float(binary_entropies(logits, group)["codebook_entropy"]) for group in (8, 4, 2, 1)]
    assert entropies == sorted(entropies) and entropies[-1] <= 8 * math.log(2) + 1e-5


def test_entropy_stays_finite_when_codes_are_never_used():
    logits = torch.full((10, 9), 1e4, requires_grad=True)
    entropies = binary_entropies(logits, 9)
    sum(entropies.values()).backward()
    assert float(entropies["codebook_entropy"].detach()) == pytest.approx(0, abs=1e-6) and logits.grad.isfinite().all()


def test_eighteen_bits_need_no_table_of_all_codes():
    quantizer = build_quantizer({"name": "lfq", "dim": 18})
    latent = torch.randn(8, 18, 16, 16, requires_grad=True)  # all logits would be 2 GB
    quantizer(latent).losses["codebook_entropy"].backward()
    assert latent.grad.isfinite().all()


def test_assignment_entropies_are_the_dense_ones():
    vectors, codes = torch.randn(40, 5, dtype=torch.float64), torch.randn(12, 5, dtype=torch.float64)
    found = assignment_entropies(vectors, codes, lambda z, c: -torch.cdist(z, c).square(), 0.5)
    sample, codebook = (float(x) for x in dense(vectors, codes, 0.5))
    assert {name: float(x) for name, x in found.items()} == pytest.approx(
        {"sample_entropy": sample, "codebook_entropy": -codebook}
    )
