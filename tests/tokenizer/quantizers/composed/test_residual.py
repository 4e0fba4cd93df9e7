"""Residual, grouped and multi-scale quantizers against their definitions."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.composed.smoothing import shared_smoothers
from vistok.tokenizer.quantizers.vector.kmeans import kmeans

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


LEARNED = {"dim": 4, "codebook_size": 32}
INNER = [
    *({"name": name, **LEARNED} for name in ("vq", "ema", "simvq")),
    {"name": "fvq", **LEARNED, "patch": 4, "width": 16},
    *({"name": "fsq", "levels": [4, 5, 3, 2], "bound": bound} for bound in ("inner", "outer")),
    *({"name": "fsp", "levels": [4, 5, 3, 2], "squash": squash} for squash in ("normal", "logistic")),
    {"name": "lfq", "dim": 4},
    {"name": "bsq", "dim": 4},
]


@pytest.mark.parametrize("inner", INNER, ids=lambda values: "-".join(str(value) for value in values.values()))
def test_distortion_falls_with_every_level(inner):
    torch.manual_seed(0)
    quantizer = build_quantizer({"name": "residual", "quantizer": inner, "depth": 4}).eval()
    latent = torch.randn(4, 4, 16, 16)
    for level in range(4 if "dim" in inner and "codebook_size" in inner else 0):
        rows = quantizer.codebook_inputs(latent)[level].permute(0, 2, 3, 1).reshape(-1, 4)
        codebook = quantizer.codebooks()[level].codebook
        centres = kmeans(rows, 32, 5, torch.Generator().manual_seed(0))
        with torch.no_grad():  # a bridge begins as the identity
            codebook.basis.copy_(centres) if inner["name"] == "fvq" else codebook.replace(torch.arange(32), centres)
    point, tokens = quantizer.to_code_space(latent), quantizer(latent).tokens
    total, errors = torch.zeros_like(latent), []
    for level, part in zip(quantizer.levels, tokens.split(1, dim=1), strict=True):
        total = total + level.lookup(part)
        errors.append(float((point - total).square().mean().detach()))
    assert all(later < 0.7 * earlier for earlier, later in itertools.pairwise(errors)), errors
    assert torch.equal(total, quantizer.lookup(tokens))


@pytest.mark.parametrize("inner", [values for values in INNER if "levels" in values])
def test_each_scalar_level_divides_the_greatest_error_by_its_number_of_levels(inner):
    latent = torch.randn(4, 4, 64, 64) * 3
    counts = torch.tensor(inner["levels"])
    step = 2 / counts if inner["name"] == "fsp" else 1 / (counts // 2)
    for depth in (1, 2, 3):
        quantizer = build_quantizer({"name": "residual", "quantizer": inner, "depth": depth}).eval()
        error = (quantizer.to_code_space(latent) - quantizer(latent).latent).abs().amax(dim=(0, 2, 3))
        bound = step / 2 / counts ** (depth - 1)
        assert (error <= bound * 1.001 + 1e-6).all() and (error > 0.9 * bound).all()


def test_noise_of_a_residual_is_that_of_its_last_level():
    quantizer = build_quantizer({"name": "residual", "quantizer": {"name": "fsp", "levels": [4, 5]}, "depth": 3})
    latent = torch.randn(4, 2, 64, 64)
    result = quantizer.train()(latent.requires_grad_())
    assert torch.equal(result.tokens, quantizer.eval()(latent).tokens), "tokens do not depend on the noise"
    noise = (result.latent - quantizer.to_code_space(latent)).abs().amax(dim=(0, 2, 3)).detach()
    half = torch.tensor([1 / 4**3, 1 / 5**3])
    assert torch.allclose(noise, half, rtol=0.01)
    assert set(result.losses) == {"moments"}


def test_gradient_of_a_bounded_residual_goes_through_the_bound_once():
    quantizer = build_quantizer({"name": "residual", "quantizer": {"name": "fsq", "levels": [5, 4]}, "depth": 3})
    latent = torch.randn(2, 2, 3, 3, requires_grad=True)
    found = torch.autograd.grad(quantizer(latent).latent.sum(), latent)[0]
    assert torch.allclose(found, torch.autograd.grad(quantizer.to_code_space(latent).sum(), latent)[0])


SHARED = [
    {"name": "residual", "quantizer": {"name": "ema", "dim": 4, "codebook_size": 8}, "depth": 3, "shared": True},
    {"name": "grouped", "quantizer": {"name": "ema", "dim": 2, "codebook_size": 8}, "groups": 2, "shared": True},
]


@pytest.mark.parametrize("values", SHARED)
def test_a_shared_codebook_moves_once_after_the_whole_forward(values):
    quantizer = build_quantizer(values)
    codebook = next(module for module in quantizer.modules() if hasattr(module, "codes")).codebook
    expected, still = copy.deepcopy(codebook), copy.deepcopy(quantizer).eval()
    latent = torch.randn(3, 4, 4, 4)
    result = quantizer(latent)
    assert torch.equal(result.tokens, still(latent).tokens), "a level saw codes that another had moved"
    pairs = zip(still.codebooks(), still.codebook_inputs(latent), strict=True)
    rows = [level.vectors(seen) for level, seen in pairs]
    expected.observe(torch.cat(rows), torch.cat([part.flatten() for part in result.tokens.split(1, dim=1)]))
    assert torch.allclose(codebook.codes(), expected.codes(), atol=1e-6)
    assert not torch.equal(codebook.codes(), next(iter(still.children()))[0].codes())


def test_a_forward_that_fails_moves_no_codebook(monkeypatch):
    quantizer = residual(quantizer={**VQ, "name": "ema"})
    before = copy.deepcopy(quantizer.state_dict())
    monkeypatch.setattr(quantizer.levels[1], "quantize", None)
    with pytest.raises(TypeError):
        quantizer(torch.randn(1, 4, 2, 2))
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


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


def test_multiscale_makes_its_codes_once_a_forward(monkeypatch):
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
