import math

import pytest
import torch

from vistok.evaluation.usage import codebook_usage, count_tokens, empty_counts


def counted(tokens, vocab_size):
    counts = empty_counts(tokens.shape[1], vocab_size)
    count_tokens(counts, tokens, vocab_size)
    return counts


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
