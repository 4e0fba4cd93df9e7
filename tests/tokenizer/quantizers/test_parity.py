"""The same functions as vector-quantize-pytorch has, where both mean the same; where they differ, the test says why."""

import pytest
import torch
import vector_quantize_pytorch as vqt
from einops import rearrange
from vector_quantize_pytorch.finite_scalar_perturbation import FSP
from vector_quantize_pytorch.vector_quantize_pytorch import directional_reparam

from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.gradients import diveq


def compare(ours, theirs, latent, weights):
    """Compare tokens, latents, weighted losses and the gradient at the latent with theirs; theirs takes `b n d`."""
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
    # Their one term pulls both sides with one weight; ours are two, so beta goes to the one it is meant for.
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


def test_residual_fsq():
    levels, depth = [5, 3, 7], 3
    ours = build_quantizer({"name": "residual", "quantizer": {"name": "fsq", "levels": levels}, "depth": depth})
    theirs = vqt.ResidualFSQ(levels=levels, num_quantizers=depth).eval()
    # The grids of odd levels agree, the bounds in front of them do not: give each the latent whose point is `point`.
    count = torch.tensor(levels, dtype=torch.float64)
    point = torch.rand(2, 400, 3, dtype=torch.float64) * 1.98 - 0.99
    reach = count / (count - 1)
    quantized, tokens = theirs((reach * torch.atanh(point / reach)).float())
    latent = rearrange(torch.atanh(point / (1 - 1e-3)), "b n d -> b d 1 n").float()
    result = ours.eval()(latent)
    assert torch.allclose(rearrange(ours.to_code_space(latent), "b d 1 n -> b n d").double(), point, atol=1e-6)
    assert torch.equal(rearrange(result.tokens, "b q 1 n -> b n q"), tokens.long())
    assert torch.allclose(rearrange(result.latent, "b d 1 n -> b n d"), quantized, atol=1e-6)
    # Even levels differ: their first level is a symmetric grid, ours the one of the FSQ paper, which contains 0.
    first = build_quantizer({"name": "residual", "quantizer": {"name": "fsq", "levels": [4]}, "depth": 1})
    assert 0 in first.lookup(torch.arange(4).reshape(1, 1, 1, 4))
    assert 0 not in vqt.ResidualFSQ(levels=[4], num_quantizers=1).codebooks


@pytest.mark.parametrize("name", ["lfq", "bsq"])
def test_residual_lfq(name):
    depth, dim = 4, 5
    ours = build_quantizer({"name": "residual", "quantizer": {"name": name, "dim": dim}, "depth": depth})
    theirs = vqt.ResidualLFQ(
        dim=dim, codebook_size=2**dim, num_quantizers=depth, spherical=name == "bsq", commitment_loss_weight=1.0
    )
    latent = torch.randn(2, dim, 6, 6)
    if name == "bsq":  # they take what is left from the latent before it is normalised
        latent = latent / latent.norm(dim=1, keepdim=True)
    leaf = rearrange(latent, "b d y x -> b (y x) d").requires_grad_()
    quantized, tokens, _ = theirs(leaf)
    result = ours(latent)
    assert torch.allclose(rearrange(result.latent, "b d y x -> b (y x) d"), quantized, atol=1e-6)
    reversed_bits = sum((result.tokens >> bit & 1) << (dim - 1 - bit) for bit in range(dim))
    assert torch.equal(rearrange(reversed_bits, "b q y x -> b (y x) q"), tokens)
    # Their gradient counts once a level: every level hands on the whole of it.
    if name == "lfq":
        assert torch.allclose(torch.autograd.grad(quantized.sum(), leaf)[0], torch.full_like(leaf, depth))
    only_commitment = vqt.ResidualLFQ(
        dim=dim, codebook_size=2**dim, num_quantizers=depth, entropy_loss_weight=0.0, commitment_loss_weight=1.0
    )
    if name == "lfq":
        assert torch.allclose(result.losses["commitment"], only_commitment(leaf)[2].mean(), atol=1e-6)


@pytest.mark.parametrize(("squash", "theirs_is"), [("normal", "normal"), ("logistic", "tanh")])
def test_fsp(squash, theirs_is):
    levels = [8, 5, 3]
    ours = build_quantizer({"name": "fsp", "levels": levels, "squash": squash})
    theirs = FSP(levels, act_name=theirs_is)
    latent = torch.randn(2, 3, 40, 40) * 2
    rows = rearrange(latent, "b d y x -> b (y x) d")
    quantized, tokens, _, _ = theirs.eval()(rows)
    result = ours.eval()(latent)
    assert torch.equal(rearrange(result.tokens, "b 1 y x -> b (y x)"), tokens.long())
    # They divide by the deviation of U(0, 1), so that a code has variance 1; ours lie in (-1, 1) as those of FSQ do, so
    # that either can follow the other in front of one decoder.
    deviation = 12**-0.5
    assert torch.allclose(rearrange(result.latent, "b d y x -> b (y x) d"), 2 * deviation * quantized, atol=1e-5)
    # In training both add U(-1/2, 1/2) / L to u. They leave it out where it would pass 0 or 1, so that latents in the
    # outer half of the outermost bins often see no noise though rounding moves them; ours has the same noise everywhere.
    outer = torch.full((1, 3, 100, 100), 9.0)
    point = ours.to_code_space(outer)
    noise = ours.train()(outer).latent - point
    seen = 2 * deviation * theirs.train()(rearrange(outer, "b d y x -> b (y x) d"))[0]
    missing = (seen - rearrange(point, "b d y x -> b (y x) d")).abs() < 1e-6
    assert 0.4 < missing.float().mean() < 0.6 and seen.max() <= 1
    for channel, level in enumerate(levels):
        assert noise[:, channel].amax() == pytest.approx(1 / level, rel=0.01)
        assert noise[:, channel].std() == pytest.approx(2 / level * deviation, rel=0.02)
