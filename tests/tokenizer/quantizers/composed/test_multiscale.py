"""Multi-scale quantization against its published loop."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.composed.smoothing import shared_smoothers

VQ = {"name": "vq", "dim": 4, "codebook_size": 32}


def multiscale():
    torch.manual_seed(0)
    return build_quantizer({"name": "multiscale", "quantizer": VQ, "scales": [1, 2, 4], "smoothers": 2})


def test_multiscale_is_the_published_loop():
    quantizer = multiscale()
    latent = torch.randn(2, 4, 4, 4)
    table = quantizer.quantizer.codebook.table.detach()
    rest, total, tokens, losses = latent.clone(), torch.zeros_like(latent), [], []
    for side, smoother in zip((1, 2, 4), (0, 0, 1), strict=True):  # 0, 1/2, 1 of the way; ticks at 1/4 and 3/4
        small = functional.adaptive_avg_pool2d(rest, side)
        numbers = torch.cdist(small.permute(0, 2, 3, 1).reshape(-1, 4), table).argmin(dim=1)
        code = table[numbers].reshape(2, side, side, 4).permute(0, 3, 1, 2)
        code = functional.interpolate(code, size=(4, 4), mode="bicubic") if side < 4 else code
        code = 0.5 * code + 0.5 * quantizer.smoothers[smoother](code)
        total, rest = total + code, rest - code
        tokens.append(numbers.reshape(2, 1, 1, -1))
        losses.append((total - latent).square().mean())
    result = quantizer(latent)
    assert torch.equal(result.tokens, torch.cat(tokens, dim=3)) and result.tokens.shape == (2, 1, 1, 21)
    assert torch.allclose(result.latent, total, atol=1e-5)
    assert torch.allclose(result.losses["codebook"], torch.stack(losses).mean(), atol=1e-5)


def test_scales_share_smoothers_as_in_var():
    # PhiPartiallyShared of VAR's models/quant.py.
    def published(scales, count):
        first = 1 / 3 / count if count == 4 else 1 / 2 / count
        ticks = np.linspace(first, 1 - first, count)
        return [int(np.argmin(np.abs(ticks - scale / max(1, scales - 1)))) for scale in range(scales)]

    assert shared_smoothers(10, 4) == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    for scales in range(1, 14):
        assert all(shared_smoothers(scales, k) == published(scales, k) for k in range(1, scales + 1))


def test_multiscale_averages_unit_vectors_for_cosine():
    inner = {"name": "ema", "dim": 4, "codebook_size": 8, "similarity": "cosine", "decay": 0.0}
    quantizer = build_quantizer({"name": "multiscale", "quantizer": inner, "scales": [1, 2, 4]})
    result = quantizer(torch.randn(3, 4, 4, 4) * 50)
    used = result.tokens.unique()
    assert (quantizer.quantizer.codebook.table[used].norm(dim=1) < 1.01).all()


def test_multiscale_computes_its_codes_once_per_forward(monkeypatch):
    quantizer = multiscale()
    calls = []
    monkeypatch.setattr(quantizer.quantizer.codebook, "codes", lambda: calls.append(0) or quantizer_table())
    quantizer_table = type(quantizer.quantizer.codebook).codes.__get__(quantizer.quantizer.codebook)
    result = quantizer(torch.randn(2, 4, 4, 4))
    quantizer.lookup(result.tokens)
    assert len(calls) == 2


def test_multiscale_takes_one_grid():
    quantizer = multiscale()
    with pytest.raises(ValueError, match="got a grid of 3 x 4, but its last scale is 4: resize the images"):
        quantizer(torch.zeros(1, 4, 3, 4))
    with pytest.raises(ValueError, match="takes b 1 1 21: all scales of an image in one row"):
        quantizer.lookup(torch.zeros(1, 1, 4, 4, dtype=torch.int64))
    ten = build_quantizer({"name": "multiscale", "quantizer": VQ})
    assert ten.token_grid(16, 16) == (1, 680)
