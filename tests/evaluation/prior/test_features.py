"""What a prior knows of the codes: their places, whatever the quantizer."""

import math

import pytest
import torch

from vistok.evaluation.prior.digits import radices_of
from vistok.evaluation.prior.features import code_features
from vistok.evaluation.prior.symbols import Alphabet
from vistok.tokenizer.quantizers import build_quantizer

QUANTIZERS = {
    "one codebook": {"name": "vq", "dim": 4, "codebook_size": 32},
    "residual": {"name": "residual", "depth": 3, "quantizer": {"name": "vq", "dim": 4, "codebook_size": 8}},
    "levels far below the first": {"name": "residual", "depth": 64, "quantizer": {"name": "lfq", "dim": 4}},
    "grouped": {"name": "grouped", "groups": 2, "quantizer": {"name": "lfq", "dim": 20}},
    "scales": {"name": "multiscale", "scales": [1, 2], "quantizer": {"name": "vq", "dim": 4, "codebook_size": 16}},
    "digits": {"name": "fsq", "levels": [10, 10, 9, 9, 8]},
    "binary": {"name": "bsq", "dim": 40},
}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_features_of_every_slot_are_standardised(name):
    quantizer = build_quantizer(QUANTIZERS[name])
    alphabet = Alphabet.of(quantizer)
    features = code_features(quantizer, alphabet)
    assert [len(each) for each in features] == [slot.size for slot in alphabet.slots]
    assert len(alphabet.radices) == quantizer.num_codebooks
    for each in features:
        assert each.isfinite().all() and each.shape[1] > 0
        assert each.mean(dim=0).abs().max() < 1e-4
        assert torch.allclose(each.square().mean(dim=0), torch.ones(each.shape[1]), atol=1e-3)
    again = code_features(quantizer, alphabet)
    assert all(torch.equal(one, other) for one, other in zip(features, again, strict=True))


def test_codes_that_are_all_alike_have_no_features():
    quantizer = build_quantizer(QUANTIZERS["one codebook"])
    for value in (0.0, 0.1):
        for weight in quantizer.parameters():
            torch.nn.init.constant_(weight, value)
        (features,) = code_features(quantizer, Alphabet.of(quantizer))
        assert features.shape == (32, 0)


def test_codes_can_be_read_from_the_features():
    quantizer = build_quantizer(QUANTIZERS["one codebook"]).eval()
    (features,) = code_features(quantizer, Alphabet.of(quantizer))
    codes = quantizer.lookup(torch.arange(32).reshape(1, 1, 1, 32))[0, :, 0].T
    targets = torch.cat([codes, codes.square().sum(dim=1, keepdim=True)], dim=1)
    inputs = torch.cat([features, torch.ones(32, 1)], dim=1)
    fitted = inputs @ torch.linalg.lstsq(inputs, targets).solution
    assert torch.allclose(fitted, targets, atol=1e-4)


def test_a_digit_has_the_places_of_its_channels():
    quantizer = build_quantizer(QUANTIZERS["digits"])
    high, low = code_features(quantizer, Alphabet.of(quantizer))
    levels = torch.cartesian_prod(torch.arange(10.0), torch.arange(10.0)).flip(
        1
    )  # the first channel is the least significant
    inputs = torch.cat([low, torch.ones(100, 1)], dim=1)
    assert torch.allclose(inputs @ torch.linalg.lstsq(inputs, levels).solution, levels, atol=1e-3)
    assert high.shape == (648, 6) and math.prod(radices_of(quantizer)) == 64800
