"""What the final forward does: codebooks observe once, after all work is done."""

import copy

import pytest
import torch

from vistok.tokenizer.quantizers import build_quantizer

SHARED = [
    {"name": "residual", "quantizer": {"name": "ema", "dim": 4, "codebook_size": 8}, "depth": 3, "shared": True},
    {"name": "grouped", "quantizer": {"name": "ema", "dim": 2, "codebook_size": 8}, "groups": 2, "shared": True},
    {"name": "multiscale", "quantizer": {"name": "ema", "dim": 4, "codebook_size": 8}, "scales": [1, 2, 4]},
]


@pytest.mark.parametrize("values", SHARED)
def test_a_shared_codebook_moves_once_after_the_whole_forward(values):
    quantizer = build_quantizer(values)
    codebook = quantizer.codebooks()[0].codebook
    expected, still = copy.deepcopy(codebook), copy.deepcopy(quantizer).eval()
    latent = torch.randn(3, 4, 4, 4)
    result = quantizer(latent)
    assert torch.equal(result.tokens, still(latent).tokens), "a level saw codes that another had moved"
    pairs = zip(still.codebooks(), still.codebook_inputs(latent), strict=True)
    rows = [level.vectors(seen) for level, seen in pairs]
    expected.observe(torch.cat(rows), torch.cat([part.flatten() for part in result.tokens.split(1, dim=1)]))
    assert torch.allclose(codebook.codes(), expected.codes(), atol=1e-6)
    assert not torch.equal(codebook.codes(), still.codebooks()[0].codes())


def test_a_forward_that_fails_moves_no_codebook(monkeypatch):
    inner = {"name": "ema", "dim": 4, "codebook_size": 32}
    quantizer = build_quantizer({"name": "residual", "quantizer": inner, "depth": 3})
    before = copy.deepcopy(quantizer.state_dict())
    monkeypatch.setattr(quantizer.levels[1], "quantize", None)
    with pytest.raises(TypeError):
        quantizer(torch.randn(1, 4, 2, 2))
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())
