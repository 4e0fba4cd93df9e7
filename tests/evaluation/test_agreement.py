"""The fraction of tokens that come back, by enumeration and with a tokenizer whose answers are known."""

from itertools import product

import pytest
import torch

from vistok.evaluation.agreement import equal_fraction


def test_every_pair_of_small_grids():
    for first, second in product(product(range(3), repeat=4), repeat=2):
        grids = torch.tensor([first, second]).reshape(2, 2, 1, 2)
        expected = sum(a == b for a, b in zip(first, second, strict=True)) / 4
        assert float(equal_fraction(grids[:1], grids[1:])) == expected


def encode(pixels):
    """Four levels of the red channel, a token for every pixel."""
    return ((pixels[:, :1] + 1) * 2).long().clamp(0, 3)


def decode(tokens):
    """The middle of each level, but level 2 comes out as level 1, so its tokens do not come back."""
    return (torch.where(tokens == 2, 1, tokens) * 0.5 - 0.75).expand(-1, 3, -1, -1)


def test_a_level_that_is_lost_does_not_come_back():
    tokens = torch.arange(4).repeat(2, 1, 3, 1)
    tokens[1, :, 0] = 2
    again = equal_fraction(tokens, encode(decode(tokens)))
    assert again.tolist() == pytest.approx([3 / 4, 6 / 12])


def test_shapes_must_agree():
    tokens = torch.zeros(1, 1, 2, 3, dtype=torch.int64)
    message = r"Tokens of shapes \(1, 1, 2, 3\) and \(1, 1, 3, 2\) cannot be compared: decode and encode at one size"
    with pytest.raises(ValueError, match=message):
        equal_fraction(tokens, tokens.mT)
