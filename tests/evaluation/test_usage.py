"""Counting codes: one by one, and by hash against an exact count."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from vistok.evaluation import usage as counting
from vistok.evaluation.usage import (
    codebook_usage,
    codes_text,
    count_tokens,
    empty_counts,
    estimate_note,
    even_usage,
    hash_slots,
    is_hashed,
)

M = 1 << 14
MANY = 1 << 36


def counted(tokens, vocab_size):
    counts = empty_counts(tokens.shape[1], vocab_size)
    count_tokens(counts, tokens, vocab_size)
    return counts


def test_counts_are_per_codebook_and_add_up():
    tokens = torch.tensor([[[[0, 1], [1, 1]], [[2, 2], [2, 0]]]])
    counts = counted(tokens, 3)
    assert counts.tolist() == [[1, 3, 0], [1, 0, 3]]
    count_tokens(counts, tokens, 3)
    assert counts.tolist() == [[2, 6, 0], [2, 0, 6]] and empty_counts(2, 5).tolist() == [[0] * 5] * 2


@pytest.mark.parametrize(
    ("codebooks", "codes", "width"),
    [
        (1, 1 << 24, 1 << 24),
        (2, 1 << 24, 1 << 24),
        (64, 1 << 18, 1 << 18),
        (1, (1 << 25) + 1, 1 << 22),
        (4, 1 << 24, 1 << 20),
        (3, 1 << 36, 1 << 20),
        (1, (1 << 63) - 1, 1 << 22),
        (64, 1 << 62, 1 << 16),
    ],
)
def test_counts_are_bounded_however_many_codes_there_are(codebooks, codes, width):
    counts = empty_counts(codebooks, codes, "meta")
    assert counts.shape == (codebooks, width) and counts.numel() * 8 <= 256 << 20
    assert is_hashed(counts, codes) == (width < codes)
    assert bool(estimate_note(counts, codes)) == (width < codes)


def splitmix64(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_slots_are_the_last_bits_of_splitmix64():
    tokens = [0, 1, 2, 2**31, 2**36 - 1, 2**62 - 1, 2**63 - 1, 123_456_789_123_456_789]
    assert hash_slots(torch.tensor(tokens), 1 << 22).tolist() == [splitmix64(x) % 2**22 for x in tokens]
    assert hash_slots(torch.tensor(tokens), 1 << 16).tolist() == [splitmix64(x) % 2**16 for x in tokens]


@pytest.fixture
def few_slots(monkeypatch):
    monkeypatch.setattr(counting, "SLOTS", M)


def zipf(rng, number):
    return (rng.zipf(1.2, number).astype(np.uint64) % np.uint64(MANY)).astype(np.int64)


def bits(rng, number):
    # 36 signs that lean to one side, more or less: neighbours differ in few bits.
    return (rng.random((number, 36)) < np.linspace(0.02, 0.5, 36)) @ (1 << np.arange(36))


def nearly_one(rng, number):
    return np.where(rng.random(number) < 0.97, 7, rng.integers(0, MANY, number))


@pytest.mark.usefixtures("few_slots")
@pytest.mark.parametrize("distinct", [1, 500, M // 4, M // 2])
@pytest.mark.parametrize("draw", [lambda rng, n: rng.integers(0, MANY, n), zipf, bits, nearly_one])
def test_estimates_agree_with_an_exact_count(draw, distinct):
    for seed in range(3):
        tokens = draw(np.random.default_rng(seed), distinct)
        _, exact = np.unique(tokens, return_counts=True)
        frequencies = exact / exact.sum()
        perplexity = np.exp(-(frequencies * np.log(frequencies)).sum())
        (usage,) = codebook_usage(counted(torch.from_numpy(tokens).reshape(1, 1, 1, -1), MANY), MANY)
        assert usage.usage * MANY == pytest.approx(len(exact), rel=0.02, abs=1.01)
        assert usage.perplexity == pytest.approx(perplexity, rel=0.04)
        assert usage.dead == 1 - usage.usage


@pytest.mark.usefixtures("few_slots")
@pytest.mark.parametrize("load", [1, 2, 6])
def test_codes_in_use_are_estimated_when_every_slot_has_several(load):
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, MANY, load * M)).reshape(1, 1, 1, -1)
    (usage,) = codebook_usage(counted(tokens, MANY), MANY)
    deviation = math.sqrt(M * (math.exp(load) - load - 1))
    assert usage.usage * MANY == pytest.approx(load * M, abs=4 * deviation)
    assert usage.perplexity <= load * M


@pytest.mark.usefixtures("few_slots")
def test_full_slots_are_at_least_that_many_codes():
    (usage,) = codebook_usage(torch.ones(1, M, dtype=torch.int64) * 100, MANY)
    assert M < usage.usage * MANY < 100 * M and usage.perplexity >= M


def test_no_tokens_are_no_usage_in_slots_too():
    assert codebook_usage(empty_counts(1, MANY), MANY) == [(0.0, 0.0, 1.0)]


def test_the_sentence_says_how_it_was_counted():
    assert estimate_note(empty_counts(1, 5), 5) == ""
    sentence = estimate_note(empty_counts(1, MANY), MANY)
    assert sentence == (
        "Usage and perplexity are estimates from 4,194,304 hash slots, because 2^36 codes are too many to count one by one."
    )


def test_large_powers_of_two_are_written_as_such():
    assert [codes_text(codes) for codes in (5, 16384, 1 << 25, (1 << 25) + 1, 1 << 26, 1 << 62)] == [
        "5",
        "16,384",
        "33,554,432",
        "33,554,433",
        "2^26",
        "2^62",
    ]


def test_uniform_and_single_code_are_the_extremes():
    even, single = codebook_usage(torch.tensor([[5, 5, 5, 5], [9, 0, 0, 0]]), 4)
    assert even.usage == 1 and even.dead == 0 and even.perplexity == pytest.approx(4)
    assert single.usage == 0.25 and single.dead == 0.75 and single.perplexity == pytest.approx(1)


def test_perplexity_is_exp_of_entropy():
    counts = [7, 2, 1, 0]
    entropy = -sum(c / 10 * math.log(c / 10) for c in counts if c)
    assert codebook_usage(torch.tensor([counts]), 4)[0].perplexity == pytest.approx(math.exp(entropy))


def test_no_tokens_are_no_usage():
    assert codebook_usage(torch.zeros(1, 5, dtype=torch.int64), 5) == [(0.0, 0.0, 1.0)]


def test_usage_is_right_above_65536_codes():
    size = 100_000
    tokens = torch.arange(size).reshape(1, 1, 1, -1)
    usage = codebook_usage(counted(tokens, size), size)[0]
    assert usage.usage == 1 and usage.perplexity == pytest.approx(size)


def test_more_codes_and_more_tokens_than_16_bits():
    tokens = torch.arange(70_000).reshape(1, 1, 700, 100)
    (usage,) = codebook_usage(counted(tokens, 2**18), 2**18)
    assert usage.usage == pytest.approx(70_000 / 2**18) and usage.perplexity == pytest.approx(70_000)


@pytest.mark.parametrize(("tokens", "codes"), [(1, 1), (5, 3), (200, 300), (40, 2**36)])
def test_even_use_is_what_tokens_reach_that_are_drawn_at_random(tokens, codes):
    """The next token is a new code with the probability that all before it missed that code."""
    new = sum(Fraction(codes - 1, codes) ** drawn for drawn in range(tokens))
    assert even_usage(tokens, codes) == pytest.approx(float(new / codes), rel=1e-12)
    assert even_usage(0, codes) == 0


def test_even_use_is_close_to_what_a_draw_has():
    drawn = np.random.default_rng(0).integers(0, 64800, (20, 6144))
    found = np.mean([len(np.unique(row)) for row in drawn]) / 64800
    assert even_usage(6144, 64800) == pytest.approx(found, rel=0.002)
