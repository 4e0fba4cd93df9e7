"""A training forward reads nothing from the device: on one that holds no values, every such read is an error."""

from contextlib import nullcontext

import pytest
import torch

from quantizer_table import EVERY, latent_for, name_of
from vistok.tokenizer.quantizers import build_quantizer
from vistok.tokenizer.quantizers.search.nearest import nearest_codes


@pytest.mark.parametrize("values", EVERY, ids=name_of)
def test_a_training_forward_and_backward_read_nothing(monkeypatch, values):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    quantizer = build_quantizer(values).to("meta").train()
    latent = latent_for(quantizer).to("meta").requires_grad_()
    result = quantizer(latent)
    (result.latent.sum() + sum(result.losses.values())).backward()
    assert latent.grad is not None and result.tokens.shape[0] == len(latent)


@pytest.mark.parametrize("similarity", ["euclidean", "dot"])
def test_a_search_that_is_not_exact_finds_the_same_where_float32_is_enough(monkeypatch, similarity):
    generator = torch.Generator().manual_seed(0)
    vectors, codes = (torch.randn(count, 8, generator=generator) for count in (500, 40))
    expected = nearest_codes(vectors, codes, similarity)
    monkeypatch.setattr(torch.Tensor, "nonzero", None)
    assert torch.equal(nearest_codes(vectors, codes, similarity, exact=False), expected)
