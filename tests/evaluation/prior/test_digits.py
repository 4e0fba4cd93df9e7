"""Digits of tokens: within their limits, one to one with the codes, and those of a scalar quantizer's channels."""

import math

import pytest
import torch

from vistok.evaluation.prior.digits import radices, radices_of
from vistok.evaluation.prior.recipe import MAX_DIGIT, MAX_WHOLE
from vistok.evaluation.prior.symbols import Alphabet
from vistok.tokenizer.quantizers import build_quantizer

LATE = [2, 16, 4096, MAX_WHOLE, MAX_WHOLE + 1, 64800, 65536, 196560, 262144, 2**24, 2**24 + 1, 2**40, 2**62, 2**63 - 1]


@pytest.mark.parametrize("codes", LATE)
def test_digits_hold_all_codes_and_no_more_than_they_need(codes):
    found = radices(codes)
    assert (len(found) == 1) == (codes <= MAX_WHOLE)
    assert found == (codes,) or max(found) <= MAX_DIGIT
    assert math.prod(found) >= codes > math.prod(found) // found[0] * (found[0] - 1)
    if len(found) > 1:
        assert len(found) == math.ceil(math.log2(codes) / math.log2(MAX_DIGIT) - 1e-12)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([10, 10, 9, 9, 8], (648, 100)),
        ([8, 8, 8, 5, 5, 5], (125, 512)),
        ([2] * 18, (512, 512)),
        ([4, 4, 4], (64,)),
        ([1 << 15], (128, 256)),
    ],
)
def test_digits_of_scalar_quantizers_are_whole_channels(levels, expected):
    assert radices(math.prod(levels), levels) == expected
    assert radices_of(build_quantizer({"name": "fsq", "levels": levels})) == expected


def test_channels_come_back_from_the_digits():
    quantizer = build_quantizer({"name": "fsq", "levels": [10, 10, 9, 9, 8]})
    tokens = torch.randint(64800, (1, 3, 5), generator=torch.Generator().manual_seed(0))
    values = Alphabet.of(quantizer).symbols(tokens).values.reshape(15, 2)
    channels = [tokens.flatten() // math.prod([10, 10, 9, 9, 8][:index]) for index in range(5)]
    assert torch.equal(values[:, 1], channels[0] % 10 + 10 * (channels[1] % 10))
    assert torch.equal(values[:, 0], channels[2] % 9 + 9 * (channels[3] % 9) + 81 * channels[4])


@pytest.mark.parametrize("codes", LATE)
def test_the_last_code_is_the_last_combination_that_may_occur(codes):
    alphabet = Alphabet(codes, [radices(codes)])
    tokens = torch.tensor([0, codes - 1, codes // 2]).reshape(1, 1, 3)
    values = alphabet.symbols(tokens).values.reshape(1, 3, -1)
    back = sum(values[0, :, index] * slot.weight for index, slot in enumerate(alphabet.slots))
    assert torch.equal(back, tokens.flatten())
    lasts = alphabet.last_values(values)
    assert (values <= lasts).all() and torch.equal(lasts[0, 1], values[0, 1])


def test_symbols_are_positions_then_codebooks_then_digits():
    alphabet = Alphabet(6, [(2, 3), (2, 3)])
    tokens = torch.tensor([[[0, 5]], [[4, 2]]])
    found = alphabet.symbols(tokens)
    assert found.values.tolist() == [0, 0, 1, 1, 1, 2, 0, 2] and found.columns == 2
    assert [slot.offset for slot in alphabet.slots] == [0, 2, 5, 7] and alphabet.size == 10
