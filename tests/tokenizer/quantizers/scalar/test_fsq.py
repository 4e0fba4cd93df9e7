import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from vistok.tokenizer.quantizers import build_quantizer


def enumerated(levels):
    """All codes of the paper in the order of its packing (first channel fastest), in float64."""
    values = [[(step - level // 2) / (level // 2) for step in range(level)] for level in levels]
    return np.array([tuple(reversed(code)) for code in itertools.product(*reversed(values))])


@pytest.mark.parametrize("levels", [[2], [3], [5, 4], [8, 5, 3], [2, 3, 4, 5]])
def test_codes_are_the_enumerated_grid(levels):
    quantizer = build_quantizer({"name": "fsq", "levels": levels})
    codes = quantizer.lookup(torch.arange(quantizer.vocab_size).reshape(1, 1, 1, -1))
    assert np.allclose(codes[0, :, 0].T.numpy(), enumerated(levels))


@pytest.mark.parametrize("level", range(2, 17))
def test_every_level_is_reached_and_the_bound_is_the_papers(level):
    quantizer = build_quantizer({"name": "fsq", "levels": [level]})
    latent = torch.linspace(-12, 12, 20_001).reshape(1, 1, 1, -1)
    tokens = quantizer(latent).tokens.flatten()
    z = latent.double().flatten().numpy()
    half = (level - 1) * (1 - 1e-3) / 2
    offset = 0.5 if level % 2 == 0 else 0.0
    bounded = np.tanh(z + np.tan(offset / half)) * half - offset
    clear = np.abs(bounded - np.floor(bounded) - 0.5) > 1e-4
    assert clear.mean() > 0.99
    assert (tokens.numpy()[clear] == np.rint(bounded[clear]) + level // 2).all()
    assert tokens.unique().tolist() == list(range(level))


@pytest.mark.parametrize(
    "values", [{"name": "fsp", "levels": [2**25]}, {"name": "fsq", "levels": [2**25], "bound": "outer"}]
)
def test_tokens_of_very_many_levels_are_in_range(values):
    quantizer = build_quantizer(values).eval()
    result = quantizer(torch.tensor([-20.0, 20.0, torch.inf]).reshape(1, 1, 1, 3))
    assert result.tokens.min() >= 0 and result.tokens.max() < quantizer.vocab_size
    assert torch.equal(quantizer.lookup(result.tokens), result.latent)


def test_packing_is_exact_above_two_to_the_24():
    levels = [16] * 8  # 2 ** 32 codes
    quantizer = build_quantizer({"name": "fsq", "levels": levels})
    tokens = torch.randint(0, 2**32, (1, 1, 1, 2000), generator=torch.Generator().manual_seed(0))
    codes = quantizer.lookup(tokens)
    digits = (codes[0, :, 0] * 8 + 8).round().long().tolist()
    packed = [sum(digit * 16**channel for channel, digit in enumerate(row)) for row in zip(*digits, strict=True)]
    assert packed == tokens.flatten().tolist()
    assert torch.equal(quantizer.tokens_from(torch.tensor(digits).reshape(1, 8, 1, -1)), tokens)
    in_float32 = torch.tensor(packed).float().long()
    assert (in_float32 != tokens.flatten()).any(), "packing in float32 would have passed this test"


def test_gradient_is_that_of_the_bound():
    quantizer = build_quantizer({"name": "fsq", "levels": [8, 5]})
    latent = torch.randn(1, 2, 3, 3, requires_grad=True)
    found = torch.autograd.grad(quantizer(latent).latent.sum(), latent)[0]
    expected = torch.autograd.grad(quantizer.to_code_space(latent).sum(), latent)[0]
    assert torch.allclose(found, expected)


NORMAL = NormalDist()


@pytest.mark.parametrize("level", range(2, 18))
def test_ifsq_is_the_published_formula_and_reaches_every_level(level):
    quantizer = build_quantizer({"name": "fsq", "levels": [level], "bound": "ifsq"})
    latent = torch.linspace(-30, 30, 20_001).reshape(1, 1, 1, -1)
    tokens = quantizer(latent).tokens.flatten().numpy()
    z = latent.double().flatten().numpy()
    bounded = (2 / (1 + np.exp(-1.6 * z)) - 1) * (level - 1) / 2
    middle = level // 2 if level % 2 else (level - 1) / 2
    clear = np.abs(bounded + middle - np.floor(bounded + middle) - 0.5) > 1e-4
    assert clear.mean() > 0.99
    assert (tokens[clear] == np.rint((bounded + middle)[clear])).all()
    assert np.unique(tokens).tolist() == list(range(level))


@pytest.mark.parametrize("level", [5, 8, 17])
def test_ifsq_makes_normal_latents_uniform_within_the_bound(level):
    z = torch.tensor([NORMAL.inv_cdf((i + 0.5) / 20_000) for i in range(20_000)]).reshape(1, 1, 1, -1)
    distances, counts = {}, {}
    for bound in ("inner", "ifsq"):
        quantizer = build_quantizer({"name": "fsq", "levels": [level], "bound": bound})
        bounded = quantizer.to_code_space(z).flatten().double()
        uniform = (bounded - bounded.min()) / (bounded.max() - bounded.min())
        distances[bound] = float((uniform - torch.linspace(0, 1, len(uniform)).double()).abs().max())
        counts[bound] = torch.bincount(quantizer(z).tokens.flatten(), minlength=level).double() / z.numel()
    assert distances["ifsq"] < 0.02
    # By the normal distribution function at the edges between levels.
    edges = [(2 * i - level) / (level - 1) for i in range(1, level)]
    fractions = np.diff([0.0, *(NORMAL.cdf(math.atanh(edge) / 0.8) for edge in edges), 1.0])
    assert np.allclose(counts["ifsq"].numpy(), fractions, atol=2e-4)
    assert np.allclose(counts["ifsq"][1:-1] * (level - 1), 1, atol=0.12)
    assert counts["ifsq"][0] < 0.5 / (level - 1) and torch.allclose(counts["ifsq"], counts["ifsq"].flip(0), atol=2e-4)


def test_levels_below_ifsq_refine_its_cells():
    values = {"name": "residual", "depth": 3, "quantizer": {"name": "fsq", "levels": [5, 8], "bound": "ifsq"}}
    quantizer = build_quantizer(values).eval()
    latent = torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(0)) * 3
    error = (quantizer.to_code_space(latent) - quantizer(latent).latent).abs().amax(dim=(0, 2, 3))
    cells = torch.tensor([1 / 2 / 5**2, 1 / 4 / 8**2])
    assert (error <= cells / 2 + 1e-6).all() and (error > cells / 4).all()
