"""Norms return the autocast type, sum in float32, and keep no float32 copy of an activation for the backward pass."""

import pytest
import torch
from fake_gpu import SavedTensors, fake_cuda
from torch.nn import functional

from vistok.tokenizer.networks import norm_silu
from vistok.tokenizer.networks.adaptive_norm import AdaptiveGroupNorm, latent_statistics
from vistok.tokenizer.networks.blocks import ResidualBlock
from vistok.tokenizer.networks.inverted_bottleneck import InvertedBottleneck
from vistok.tokenizer.networks.modulated_norm import ModulatedNorm
from vistok.tokenizer.networks.norm_silu import silu_of_norm
from vistok.tokenizer.networks.norms import GroupNorm, LayerNorm, Norm
from vistok.tokenizer.networks.resampling import Repeat

LOW = [torch.bfloat16, torch.float16]
FORMATS = [torch.contiguous_format, torch.channels_last]


def norms():
    adaptive, modulated, rows = AdaptiveGroupNorm(64, 4), ModulatedNorm(Norm(64, "group"), 4), LayerNorm(8)
    return {
        "group": Norm(64, "group"),
        "pixel": Norm(64, "pixel"),
        "adaptive": lambda x: adaptive(x, latent_statistics(torch.ones(len(x), 4, 2, 2))),
        "modulated": lambda x: modulated(x, torch.ones(len(x), 4, 2, 2)),
        "discriminator": GroupNorm(16, 64),
        "rows": lambda x: rows(x),
    }


@pytest.mark.parametrize("low", LOW, ids=str)
@pytest.mark.parametrize("name", list(norms()))
def test_a_norm_returns_the_autocast_type_on_every_device(name, low):
    x = torch.randn(2, 64, 4, 8)
    with torch.autocast("cpu", low):
        assert norms()[name](x.to(low)).dtype == norms()[name](x).dtype == low
    assert norms()[name](x).dtype == torch.float32
    with fake_cuda(low):
        assert norms()[name](torch.randn(2, 64, 4, 8, dtype=low)).dtype == low
        assert Repeat()(torch.randn(2, 64, 4, 8, dtype=low)).dtype == low


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("mean", [0.0, 3.0, 30.0])
def test_statistics_are_those_of_float32(mean, memory_format):
    """The error of bfloat16 in, bfloat16 out is that of rounding the result, not that of sums in bfloat16."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(2, 64, 32, 32, generator=generator) + mean).bfloat16().contiguous(memory_format=memory_format)
    for norm, expected in (
        (Norm(64, "group"), torch.group_norm(x.double(), 32, eps=1e-6)),
        (GroupNorm(16, 64), torch.group_norm(x.double(), 16, eps=1e-5)),
        (Norm(64, "pixel"), functional.layer_norm(x.double().movedim(1, 3), (64,), eps=1e-6).movedim(3, 1)),
    ):
        with torch.autocast("cpu", torch.bfloat16):
            result = norm(x)
        # Twice the rounding: the shift against large means is in the type of the input.
        torch.testing.assert_close(result.double(), expected, rtol=2 * 2**-8, atol=0.02)
        assert (result.double() - expected).square().mean().sqrt() < 2**-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_recomputed_norm_has_the_same_values_and_gradients(dtype, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    norm = Norm(64, "group").to(dtype if dtype == torch.float64 else torch.float32)
    with torch.no_grad():
        norm.weight.normal_(generator=generator)
        norm.bias.normal_(generator=generator)
    x = torch.randn(2, 64, 6, 5, generator=generator).to(dtype)
    upstream = torch.randn(x.shape, generator=generator).to(dtype)
    found = []
    for recomputes in (False, True):
        monkeypatch.setattr(norm_silu, "_recomputes", lambda _, recomputes=recomputes: recomputes)
        given, _ = x.clone().requires_grad_(), norm.zero_grad()
        result = silu_of_norm(norm, given)
        result.backward(upstream)
        assert given.grad.dtype == result.dtype == dtype and norm.weight.grad.dtype == norm.weight.dtype
        found.append([result.detach(), given.grad, norm.weight.grad, norm.bias.grad])
    exactness = {"rtol": 0.05, "atol": 0.05} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    for kept, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(kept, recomputed, **exactness)


def test_a_frozen_norm_gets_no_gradient(monkeypatch):
    monkeypatch.setattr(norm_silu, "_recomputes", lambda _: True)
    norm, x = Norm(64, "group").requires_grad_(False), torch.randn(2, 64, 4, 4, requires_grad=True)
    silu_of_norm(norm, x).sum().backward()
    assert x.grad is not None and norm.weight.grad is None


@pytest.mark.skipif(torch.__version__ < "2.10", reason="this torch does not trace the types that tests check")
def test_an_example_of_norm_and_silu_compiles_whole_and_keeps_its_type():
    norm, x = Norm(64, "group"), torch.randn(2, 64, 4, 4).bfloat16()
    compiled = torch.compile(silu_of_norm, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", torch.bfloat16):
        result = compiled(norm, x)
        torch.testing.assert_close(result, silu_of_norm(norm, x))
    assert result.dtype == torch.bfloat16


def test_blocks_keep_no_float32_activation_on_cuda():
    with fake_cuda(torch.bfloat16):
        x = torch.randn(4, 64, 32, 32, dtype=torch.bfloat16)
        for block in (
            ResidualBlock(64, 64, "group"),
            ResidualBlock(64, 128, "pixel"),
            InvertedBottleneck(64, 64, "up"),
        ):
            with SavedTensors() as saved:
                block(x)
            assert 0 < saved.bytes(torch.bfloat16) and saved.bytes(torch.float32) < x.numel()  # statistics alone
        with SavedTensors() as saved:
            ResidualBlock(64, 64, "group")(x)
        # The input, the input of each convolution and the output of the first: silu and the norms keep nothing else.
        assert saved.bytes() < 4.1 * 2 * x.numel() + 2 * 2 * 64 * 64 * 9
