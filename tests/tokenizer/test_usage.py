import math

import pytest
import torch

from vistok.tokenizer.usage import codebook_usage, count_tokens, distortion, no_counts


def test_counts_are_per_codebook_and_add_up():
    tokens = torch.tensor([[[[0, 1], [1, 1]], [[2, 2], [2, 0]]]])
    assert count_tokens(tokens, 3).tolist() == [[1, 3, 0], [1, 0, 3]]


def test_uniform_and_single_code_are_the_extremes():
    even, single = codebook_usage(torch.tensor([[5, 5, 5, 5], [9, 0, 0, 0]]))
    assert even.usage == 1 and even.dead == 0 and even.perplexity == pytest.approx(4)
    assert single.usage == 0.25 and single.dead == 0.75 and single.perplexity == pytest.approx(1)


def test_perplexity_is_exp_of_entropy():
    counts = [7, 2, 1, 0]
    entropy = -sum(c / 10 * math.log(c / 10) for c in counts if c)
    assert codebook_usage(torch.tensor([counts]))[0].perplexity == pytest.approx(math.exp(entropy))


def test_no_tokens_are_no_usage():
    assert codebook_usage(torch.zeros(1, 5, dtype=torch.int64)) == [(0.0, 0.0, 1.0)]


def test_usage_is_right_above_65536_codes():
    size = 100_000
    tokens = torch.arange(size).reshape(1, 1, 1, -1)
    usage = codebook_usage(count_tokens(tokens, size))[0]
    assert usage.usage == 1 and usage.perplexity == pytest.approx(size)


def test_distortion_is_the_mean_square_a_channel():
    assert float(distortion(torch.zeros(1, 2, 1, 1), torch.tensor([[[[1.0]], [[3.0]]]]))) == 5.0


def test_more_codes_and_more_tokens_than_16_bits():
    tokens = torch.arange(70_000).reshape(1, 1, 700, 100)
    (usage,) = codebook_usage(count_tokens(tokens, 2**18))
    assert usage.usage == pytest.approx(70_000 / 2**18) and usage.perplexity == pytest.approx(70_000)


def test_codes_too_many_to_count_are_refused():
    message = (
        r"codebook of 1,099,511,627,776 codes was asked for, but at most 16,777,216 can be counted: take a smaller"
    )
    with pytest.raises(ValueError, match=message):
        count_tokens(torch.zeros(1, 1, 2, 2, dtype=torch.int64), 2**40)
    with pytest.raises(ValueError, match=message):
        no_counts(1, 2**40)
    assert no_counts(2, 5).tolist() == [[0] * 5] * 2
