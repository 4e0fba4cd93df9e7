"""Residual quantization against its definition."""

import itertools

import pytest
import torch

from vistok.tokenizer.quantizers import build_quantizer
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
def test_each_scalar_level_divides_the_max_error_by_its_number_of_levels(inner):
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


def test_shared_levels_are_one_codebook():
    assert len(residual(shared=True).levels) == 1
    assert residual(shared=True, depth=5)(torch.randn(1, 4, 2, 2)).tokens.shape[1] == 5
