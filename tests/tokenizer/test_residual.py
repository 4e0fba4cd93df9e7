"""Residual, grouped and multi-scale quantizers against their definitions."""

import pytest
import torch
from torch.nn import functional

from vistok.tokenizer.quantizers import build_quantizer

VQ = {"name": "vq", "dim": 4, "codebook_size": 32}


def residual(**more):
    torch.manual_seed(0)
    return build_quantizer({"name": "residual", "quantizer": VQ, "depth": 3, **more})


def test_each_level_quantizes_what_is_left():
    quantizer = residual()
    latent = torch.randn(2, 4, 3, 3)
    left, tokens = latent.clone(), []
    for level in quantizer.levels:
        table = level.codebook.table.detach()
        numbers = torch.cdist(left.permute(0, 2, 3, 1).reshape(-1, 4), table).argmin(dim=1)
        left = left - table[numbers].reshape(2, 3, 3, 4).permute(0, 3, 1, 2)
        tokens.append(numbers.reshape(2, 3, 3))
    result = quantizer(latent)
    assert torch.equal(result.tokens, torch.stack(tokens, dim=1))
    assert torch.allclose(latent - result.latent, left, atol=1e-6)


def test_gradient_counts_once_whatever_the_depth():
    latent = torch.randn(2, 4, 3, 3, requires_grad=True)
    residual()(latent).latent.sum().backward()
    assert torch.equal(latent.grad, torch.ones_like(latent))


def test_every_level_has_a_commitment_that_reaches_the_latent():
    quantizer = residual()
    latent = torch.randn(1, 4, 1, 1, requires_grad=True)
    result = quantizer(latent)
    found = torch.autograd.grad(result.losses["commitment"], latent)[0]
    left, expected = latent.detach(), torch.zeros_like(latent)
    for level, number in zip(quantizer.levels, result.tokens.flatten(), strict=True):
        left = left - level.codebook.table.detach()[number].reshape(1, 4, 1, 1)
        expected += 2 * left / left.numel() / 3
    assert torch.allclose(found, expected, atol=1e-6)


def test_dropout_keeps_the_first_levels_and_all_tokens():
    quantizer = residual(depth=4, dropout=1.0)
    latent = torch.randn(2, 4, 3, 3)
    whole = quantizer.eval()(latent)
    prefixes = []
    total = torch.zeros_like(latent)
    for level, tokens in zip(quantizer.levels, whole.tokens.split(1, dim=1), strict=True):
        total = total + level.lookup(tokens)
        prefixes.append(total)
    quantizer.train()
    seen = set()
    for _ in range(60):
        result = quantizer(latent)
        assert torch.equal(result.tokens, whole.tokens)
        matches = [kept for kept, prefix in enumerate(prefixes, 1) if torch.equal(result.latent, prefix)]
        seen.add(matches[0])
    assert seen == {1, 2, 3, 4}


def test_dropped_levels_learn_nothing_but_stay_in_the_graph(monkeypatch):
    quantizer = residual(dropout=1.0)
    monkeypatch.setattr(quantizer, "_kept_levels", lambda: 1)
    losses = quantizer(torch.randn(2, 4, 3, 3, requires_grad=True)).losses
    sum(losses.values()).backward()
    grads = [level.codebook.table.grad.abs().sum() for level in quantizer.levels]
    assert grads[0] > 0 and grads[1] == grads[2] == 0


def test_shared_levels_are_one_codebook():
    assert len(residual(shared=True).levels) == 1
    assert residual(shared=True, depth=5)(torch.randn(1, 4, 2, 2)).tokens.shape[1] == 5


def test_groups_are_the_quantizer_on_their_channels():
    torch.manual_seed(0)
    quantizer = build_quantizer({"name": "grouped", "quantizer": {**VQ, "gradient": "rotation"}, "groups": 3}).eval()
    latent = torch.randn(2, 12, 3, 3)
    result = quantizer(latent)
    for group, inner in enumerate(quantizer.quantizers):
        alone = inner(latent[:, 4 * group : 4 * group + 4])
        assert torch.equal(result.tokens[:, group : group + 1], alone.tokens)
        assert torch.equal(result.latent[:, 4 * group : 4 * group + 4], alone.latent)
    assert quantizer.dim == 12 and quantizer.num_codebooks == 3


def multiscale():
    torch.manual_seed(0)
    return build_quantizer({"name": "multiscale", "quantizer": VQ, "scales": [1, 2, 4], "smoothers": 2})


def test_multiscale_is_the_published_loop():
    quantizer = multiscale()
    latent = torch.randn(2, 4, 4, 4)
    table = quantizer.quantizer.codebook.table.detach()
    rest, total, tokens, losses = latent.clone(), torch.zeros_like(latent), [], []
    for side, smoother in zip((1, 2, 4), (0, 0, 1), strict=True):  # 0, 1/2, 1 of the way to the last, ties to even
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


def test_multiscale_takes_one_grid():
    quantizer = multiscale()
    with pytest.raises(ValueError, match="got a grid of 3 x 4, but its last scale is 4: resize the pictures"):
        quantizer(torch.zeros(1, 4, 3, 4))
    with pytest.raises(ValueError, match="takes b 1 1 21: all scales of a picture in one row"):
        quantizer.lookup(torch.zeros(1, 1, 4, 4, dtype=torch.int64))
    ten = build_quantizer({"name": "multiscale", "quantizer": VQ})
    assert ten.token_grid(16, 16) == (1, 680)
