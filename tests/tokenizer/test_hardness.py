"""Annealed hardness: the decoder sees a blend of latents and codes, and everything else sees codes."""

import pytest
import torch

from quantizer_table import EVERY, latent_for, name_of
from samples import ARCHITECTURE
from vistok.tokenizer.config import parse_choice
from vistok.tokenizer.model import build_tokenizer, hardness_at, softened
from vistok.tokenizer.quantizers import QUANTIZERS, build_quantizer


def test_the_ramp_goes_from_exactly_0_to_exactly_1():
    assert [hardness_at(step, 4) for step in range(1, 7)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert all(type(hardness_at(step, 3)) is float and hardness_at(step + 3, 3) == 1 for step in range(1, 5))
    assert [hardness_at(step, 0) for step in (1, 2, 1000)] == [1, 1, 1]


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_the_blend_and_its_gradient_are_those_of_both_parts(values):
    quantizer = build_quantizer(values).train()
    latent = latent_for(quantizer).requires_grad_()
    torch.manual_seed(1)
    quantized = quantizer(latent).latent
    point = quantizer.to_code_space(latent)
    assert softened(quantizer, latent, quantized, 1.0) is quantized
    upstream = torch.randn_like(quantized)
    of_codes, of_latent = (
        torch.autograd.grad(value, latent, upstream, retain_graph=True)[0] for value in (quantized, point)
    )
    for hardness in (0.0, 0.3):
        blend = softened(quantizer, latent, quantized, hardness)
        expected = (1 - hardness) * point.double() + hardness * quantized.double()
        assert torch.allclose(blend.double(), expected, atol=1e-5)
        gradient = torch.autograd.grad(blend, latent, upstream, retain_graph=True)[0]
        assert torch.allclose(gradient, (1 - hardness) * of_latent + hardness * of_codes, rtol=1e-4, atol=1e-5)
    assert torch.equal(softened(quantizer, latent, quantized, 0.0), point)


def test_only_the_decoder_sees_the_blend():
    values = {"name": "vq", "dim": ARCHITECTURE.latent_channels, "codebook_size": 32}
    model = build_tokenizer(ARCHITECTURE, parse_choice(QUANTIZERS, values, "quantizer")).train()
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    hard, same, soft = model(pixels), model(pixels, 1.0), model(pixels, 0.25)
    assert torch.equal(hard.pixels, same.pixels) and not torch.equal(hard.pixels, soft.pixels)
    assert torch.equal(hard.tokens, soft.tokens) and torch.equal(hard.quantized, soft.quantized)
    assert all(torch.equal(hard.losses[name], soft.losses[name]) for name in hard.losses)
    point = model.quantizer.to_code_space(hard.latent)
    assert torch.allclose(soft.pixels, model.decode_latent(0.75 * point + 0.25 * hard.quantized), atol=1e-5)
    assert torch.allclose(model(pixels, 0.0).pixels, model.decode_latent(point), atol=1e-5)
