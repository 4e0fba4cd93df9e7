"""Multi-scale quantization against its published loop."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.composed.smoothing import shared_smoothers
from vistok.tokenizer.scale_grids import latent_grid, scale_grids, token_grid

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


def test_other_grids_have_scales_in_proportion_and_tokens_that_tell_them():
    quantizer = build_quantizer({"name": "multiscale", "quantizer": VQ, "scales": [1, 2, 3, 4, 6, 8]}).eval()
    grids = [(1, 1), (1, 2), (2, 3), (3, 4), (4, 6), (6, 8)]
    assert scale_grids([1, 2, 3, 4, 6, 8], 6, 8) == grids
    for y, x, shape in ((6, 8, (1, 93)), (8, 6, (93, 1)), (8, 8, (1, 130)), (1, 1, (1, 6)), (16, 16, (1, 520))):
        latent = torch.randn(2, 4, y, x)
        result = quantizer(latent)
        assert result.tokens.shape[2:] == quantizer.token_grid(y, x) == shape
        assert torch.equal(quantizer.lookup(result.tokens), result.latent)
    ten = build_quantizer({"name": "multiscale", "quantizer": VQ})
    assert ten.token_grid(16, 16) == (1, 680)


def test_grids_whose_tokens_would_not_tell_them_are_refused():
    """Of all grids with one number of tokens, one is taken: that nearest to a square."""
    scales = [1, 2, 4]
    taken, refused = {}, 0
    for y, x in itertools.product(range(1, 25), repeat=2):
        try:
            shape = token_grid(scales, y, x)
        except ValueError:
            refused += 1
            continue
        assert shape not in taken and latent_grid(scales, *shape) == (y, x)
        taken[shape] = (y, x)
    assert (8, 8) in taken.values() and 0 < refused < 576 / 3
    with pytest.raises(
        ValueError, match="got a grid of 2 x 23, which has 62 tokens, as one of 6 x 8 has: resize the i"
    ):
        token_grid(scales, 2, 23)
    with pytest.raises(ValueError, match="got a grid of 23 x 2, which has 62 tokens, as one of 8 x 6 has"):
        multiscale()(torch.zeros(1, 4, 23, 2))


def test_tokens_of_no_grid_are_refused():
    quantizer = multiscale()
    for shape in ((4, 4), (1, 2), (2, 21)):
        sentence = (
            rf"tokens of shape \(1, 1, {shape[0]}, {shape[1]}\), but takes b 1 1 n or b 1 n 1: all scales \[1, 2, 4\]"
        )
        with pytest.raises(ValueError, match=sentence):
            quantizer.lookup(torch.zeros(1, 1, *shape, dtype=torch.int64))


def test_a_list_says_which_smoother_each_scale_takes():
    values = {"name": "multiscale", "quantizer": VQ, "scales": [1, 2, 4], "smoothers": 2}
    torch.manual_seed(0)
    listed = build_quantizer({**values, "smoother_of_scale": [0, 0, 1]}).eval()
    assert listed.smoothers.of_scale == multiscale().smoothers.of_scale == [0, 0, 1]
    assert torch.equal(listed(latent_of(1)).tokens, multiscale().eval()(latent_of(1)).tokens)
    torch.manual_seed(0)
    other = build_quantizer({**values, "smoother_of_scale": [1, 0, 0]}).eval()
    assert not torch.equal(other(latent_of(1)).latent, listed(latent_of(1)).latent)
    _, exported = other.for_inference()
    assert torch.equal(exported(latent_of(1)).latent, other(latent_of(1)).latent)
    for wrong in ([0, 1], [0, 1, 2], []):
        with pytest.raises(ValueError, match=r"smoother_of_scale is .* an index from 0 to 1 for each of 3 scales"):
            build_quantizer({**values, "smoother_of_scale": wrong})


def latent_of(seed):
    return torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
