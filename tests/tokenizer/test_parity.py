"""The same functions as vector-quantize-pytorch has, where both mean the same; where they differ, the test says why."""

import pytest
import torch
import vector_quantize_pytorch as vqt
from einops import rearrange
from vector_quantize_pytorch.vector_quantize_pytorch import directional_reparam

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.gradients import diveq


def compare(ours, theirs, latent, weights):
    """Hold tokens, latents, the weighed losses and the gradient at the latent against theirs; theirs takes `b n d`."""
    results = []
    for side in ("ours", "theirs"):
        leaf = latent.clone().requires_grad_()
        if side == "ours":
            quantized, tokens, losses = ours(leaf)
            loss = sum(weights[name] * value for name, value in losses.items())
            quantized, tokens = rearrange(quantized, "b d y x -> b (y x) d"), rearrange(tokens, "b 1 y x -> b (y x)")
        else:
            quantized, tokens, loss = theirs(rearrange(leaf, "b d y x -> b (y x) d"))
        upstream = torch.linspace(-1, 1, quantized.numel()).reshape(quantized.shape)
        ((quantized * upstream).sum() + loss).backward()
        results.append((quantized, leaf.grad, torch.as_tensor(loss).reshape(()), tokens))
    for mine, other in zip(*results, strict=True):
        assert torch.allclose(mine.float(), other.float(), atol=1e-5)


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_simvq(gradient):
    ours = build_quantizer({"name": "simvq", "dim": 6, "codebook_size": 40, "bias": False, "gradient": gradient})
    theirs = vqt.SimVQ(6, 40, rotation_trick=gradient == "rotation")
    theirs.frozen_codebook.copy_(ours.codebook.basis)
    theirs.code_transform.load_state_dict(ours.codebook.projection.linear.state_dict())
    compare(ours, theirs, torch.randn(2, 6, 5, 5), {"codebook": 1.0, "commitment": 0.25})
    weights = ours.codebook.projection.linear.weight, theirs.code_transform.weight
    assert torch.allclose(weights[0].grad, weights[1].grad, atol=1e-4)


@pytest.mark.parametrize("gradient", ["straight_through", "rotation"])
def test_learned_codebook(gradient):
    ours = build_quantizer({"name": "vq", "dim": 6, "codebook_size": 40, "gradient": gradient})
    theirs = vqt.VectorQuantize(
        6, 40, learnable_codebook=True, ema_update=False, rotation_trick=gradient == "rotation", commitment_weight=0.25
    )
    with torch.no_grad():
        theirs._codebook.embed.copy_(ours.codebook.table)
    # Their one term pulls both sides with one weight; ours are two, so that beta stands on the one it is meant for.
    compare(ours, theirs, torch.randn(2, 6, 5, 5), {"codebook": 0.0, "commitment": 0.25})


@pytest.mark.parametrize("steps", [1, 5])
def test_moving_average(steps):
    ours = build_quantizer({"name": "ema", "dim": 6, "codebook_size": 40, "decay": 0.9})
    theirs = vqt.VectorQuantize(
        6, 40, decay=0.9, rotation_trick=False, commitment_weight=1.0, threshold_ema_dead_code=0
    )
    book = theirs._codebook
    book.embed.copy_(ours.codebook.table)
    book.embed_avg.copy_(ours.codebook.sums)
    book.cluster_size.copy_(ours.codebook.counts)
    for _ in range(steps):
        compare(ours, theirs, torch.randn(2, 6, 5, 5), {"commitment": 1.0})
    assert torch.allclose(ours.codebook.table, book.embed[0], atol=1e-5)


def test_cosine_moving_average_finds_the_same_codes():
    ours = build_quantizer({"name": "ema", "dim": 6, "codebook_size": 40, "similarity": "cosine"}).eval()
    theirs = vqt.VectorQuantize(6, 40, use_cosine_sim=True).eval()
    theirs._codebook.embed.copy_(ours.codes())
    latent = torch.randn(2, 6, 5, 5)
    quantized, tokens, _ = theirs(rearrange(latent, "b d y x -> b (y x) d"))
    assert torch.equal(rearrange(ours(latent).tokens, "b 1 y x -> b (y x)"), tokens)
    assert torch.allclose(rearrange(ours(latent).latent, "b d y x -> b (y x) d"), quantized, atol=1e-6)


@pytest.mark.parametrize("levels", [[3, 4, 5], [8, 8, 8, 5, 5, 5]])
def test_fsq_with_the_outer_bound(levels):
    ours, theirs = build_quantizer({"name": "fsq", "levels": levels, "bound": "outer"}), vqt.FSQ(levels)
    latent = torch.randn(2, len(levels), 64, 64) * 2
    compare(ours, lambda x: (*theirs(x), torch.zeros(())), latent, {})
    inner = build_quantizer({"name": "fsq", "levels": levels})(latent).tokens
    differing = (inner != ours(latent).tokens).float().mean()
    assert 0 < differing < 0.1, "the paper's bound, our default, is another code"


def test_diveq():
    z, q = torch.randn(2, 50, 6)
    torch.manual_seed(1)
    theirs = directional_reparam(z, q, 5e-3)
    torch.manual_seed(1)
    assert torch.allclose(diveq(z, q, variance=5e-3), theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["lfq", "bsq"])
def test_binary(name):
    ours = build_quantizer({"name": name, "dim": 5, "entropy_bits": 5})
    theirs = vqt.LFQ(dim=5, spherical=name == "bsq", entropy_loss_weight=1.0, diversity_gamma=1.0)
    latent = torch.randn(2, 5, 6, 6) * 0.1
    quantized, tokens, auxiliary = theirs(rearrange(latent, "b d y x -> b (y x) d"))
    result = ours(latent)
    assert torch.allclose(rearrange(result.latent, "b d y x -> b (y x) d"), quantized, atol=1e-6)
    # Their first channel is the most significant bit, ours the least, as in FSQ and in most published tokenizers.
    reversed_bits = sum((result.tokens >> bit & 1) << (4 - bit) for bit in range(5))
    assert torch.equal(rearrange(reversed_bits, "b 1 y x -> b (y x)"), tokens)
    entropy = result.losses["sample_entropy"] + result.losses["codebook_entropy"]
    # Theirs clamps probabilities at 1e-5 inside the logarithm; ours does not, which shows in the third digit.
    assert entropy.item() == pytest.approx(auxiliary.item(), abs=5e-3)


def test_residual_finds_the_same_codes_and_counts_the_gradient_once():
    ours = build_quantizer(
        {"name": "residual", "quantizer": {"name": "ema", "dim": 6, "codebook_size": 40}, "depth": 3}
    )
    theirs = vqt.ResidualVQ(dim=6, codebook_size=40, num_quantizers=3, rotation_trick=False)
    for mine, other in zip(ours.levels, theirs.layers, strict=True):
        other._codebook.embed.copy_(mine.codebook.table)
    latent = torch.randn(2, 6, 5, 5)
    quantized, tokens, _ = theirs.eval()(rearrange(latent, "b d y x -> b (y x) d"))
    result = ours.eval()(latent)
    assert torch.equal(rearrange(result.tokens, "b q y x -> b (y x) q"), tokens)
    assert torch.allclose(rearrange(result.latent, "b d y x -> b (y x) d"), quantized, atol=1e-5)
    leaf = latent.clone().requires_grad_()
    ours.train()(leaf).latent.sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(leaf))
