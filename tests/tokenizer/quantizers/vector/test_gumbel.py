"""The Gumbel softmax: samples, gradient, temperature and loss as published, and no noise outside training."""

import math

import pytest
import torch
from torch.nn import functional

from vistok.tokenizer.quantizers import build_quantizer, set_training_step
from vistok.tokenizer.quantizers.vector import gumbel
from vistok.tokenizer.quantizers.vector.gumbel import GumbelConfig

VALUES = {"name": "gumbel", "dim": 4, "codebook_size": 7}


@pytest.fixture
def quantizer():
    torch.manual_seed(0)
    return build_quantizer(VALUES)


@pytest.fixture
def latent():
    return torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(1))


def logits_of(quantizer, latent):
    return functional.conv2d(latent, quantizer.classifier.weight[..., None, None], quantizer.classifier.bias)


def test_outside_training_the_token_is_the_argmax_of_the_classifier_with_its_bias(quantizer, latent):
    torch.nn.init.normal_(quantizer.classifier.bias, std=3.0)
    result = quantizer.eval()(latent)
    expected = logits_of(quantizer, latent).argmax(dim=1, keepdim=True)
    without_bias = functional.conv2d(latent, quantizer.classifier.weight[..., None, None]).argmax(dim=1, keepdim=True)
    assert torch.equal(result.tokens, expected) and not torch.equal(expected, without_bias)
    assert torch.equal(result.latent, quantizer.table[expected[:, 0]].permute(0, 3, 1, 2))


def test_in_training_tokens_are_samples_of_the_softmax(quantizer):
    latent = torch.tensor([0.5, -1.0, 1.5, 0.3]).view(1, 4, 1, 1).expand(1, 4, 100, 200)
    tokens = quantizer.train()(latent).tokens
    expected = logits_of(quantizer, latent)[0, :, 0, 0].softmax(dim=0)
    torch.testing.assert_close(tokens.flatten().bincount(minlength=7) / 20000, expected, atol=0.015, rtol=0)


@pytest.mark.parametrize(("step", "temperature"), [(0, 2.0), (5, 1.0), (10, 0.5), (99, 0.5)])
def test_value_and_gradients_are_those_of_torch_with_the_same_noise(latent, monkeypatch, step, temperature):
    """Also when the vectors are split, each part with noise of its own."""
    monkeypatch.setattr(gumbel, "chunks", lambda vectors, _: vectors.split(11))
    quantizer = build_quantizer(VALUES | {"temperature": 2.0, "final_temperature": 0.5, "anneal_steps": 10})
    set_training_step(quantizer, step)
    upstream = torch.randn(2, 4, 3, 5)
    ours, theirs = latent.clone().requires_grad_(), latent.clone().requires_grad_()
    torch.manual_seed(4)
    result = quantizer.train()(ours)
    (result.latent * upstream).sum().backward()
    gradients = [parameter.grad.clone() for parameter in quantizer.parameters()]
    quantizer.zero_grad()

    torch.manual_seed(4)
    rows = logits_of(quantizer, theirs).permute(0, 2, 3, 1).reshape(-1, 7)
    choices = [functional.gumbel_softmax(part, temperature, hard=True) for part in rows.split(11)]
    expected = (torch.cat(choices) @ quantizer.table).reshape(2, 3, 5, 4).permute(0, 3, 1, 2)
    (expected * upstream).sum().backward()
    torch.testing.assert_close(result.latent, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)
    for found, parameter in zip(gradients, quantizer.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad)


def test_the_loss_is_the_divergence_from_uniform(quantizer, latent):
    p = logits_of(quantizer, latent).softmax(dim=1)
    expected = (p * (p * 7).log()).sum(dim=1).mean()
    torch.testing.assert_close(quantizer.train()(latent).losses["kl"], expected)
    torch.nn.init.zeros_(quantizer.classifier.weight)
    torch.nn.init.zeros_(quantizer.classifier.bias)
    assert abs(quantizer(latent).losses["kl"].item()) < 1e-6
    torch.nn.init.constant_(quantizer.classifier.bias[:1], 1e4)
    assert abs(quantizer(latent).losses["kl"].item() - math.log(7)) < 1e-4


def test_the_export_has_no_settings_of_training():
    config = GumbelConfig(dim=4, codebook_size=7, temperature=3.0, final_temperature=0.1)
    assert config.build().for_inference()[0] == GumbelConfig(dim=4, codebook_size=7)
