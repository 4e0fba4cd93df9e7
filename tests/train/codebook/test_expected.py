"""Expectations against simulation."""

import numpy as np
import pytest
import torch

from vistok.train.codebook.expected import CountHistogram, even_spread


def simulated(chances, tokens, seed):
    counts = np.random.default_rng(seed).multinomial(tokens, chances)
    fractions = counts[counts > 0] / tokens
    return (counts > 0).sum(), np.exp(-(fractions * np.log(fractions)).sum()), counts


@pytest.mark.parametrize(("tokens", "codes"), [(2, 2), (100, 7), (50, 1000), (1000, 1000), (5000, 1000), (40_000, 16)])
def test_even_use_is_what_uniform_draws_show(tokens, codes):
    draws = [simulated(np.full(codes, 1 / codes), tokens, seed)[:2] for seed in range(200)]
    found, perplexity = even_spread(tokens, codes)
    used, log_perplexity = np.mean([used for used, _ in draws]), np.mean(np.log([each for _, each in draws]))
    assert found == pytest.approx(used, rel=0.02, abs=0.15)
    assert perplexity == pytest.approx(np.exp(log_perplexity), rel=0.02, abs=0.15)


@pytest.mark.parametrize("codes", [1 << 36, 1 << 62])
def test_tokens_far_fewer_than_codes_are_all_different(codes):
    assert even_spread(100_000, codes) == pytest.approx((100_000, 100_000), rel=1e-3)


def test_the_ends():
    assert even_spread(0, 10) == (0, 0) and even_spread(1, 10) == (1, 1) and even_spread(9, 1) == (1, 1)
    assert even_spread(10**12, 1024) == pytest.approx((1024, 1024), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.2])
@pytest.mark.parametrize("fraction", [0.03, 0.3])
def test_fewer_tokens_of_the_same_codes(alpha, fraction):
    chances = np.arange(1, 2049) ** -alpha
    chances /= chances.sum()
    *_, counts = simulated(chances, 100_000, seed=99)
    tokens = int(100_000 * fraction)
    used, perplexity = np.mean([simulated(chances, tokens, seed)[:2] for seed in range(1, 20)], axis=0)
    histogram = CountHistogram.of(torch.from_numpy(counts))
    assert histogram.tokens == 100_000
    spread = histogram.spread(tokens)
    assert spread.codes == pytest.approx(used, rel=0.07)
    assert spread.perplexity == pytest.approx(perplexity, rel=0.1)
    assert spread == histogram.spread(tokens)


def test_as_many_tokens_or_more_show_what_was_seen():
    histogram = CountHistogram.of(torch.tensor([0, 5, 5, 0, 10]))
    assert histogram.counts.tolist() == [5, 10] and histogram.codes.tolist() == [2, 1]
    expected = (3, pytest.approx(np.exp(1.5 * np.log(2))))
    assert histogram.spread(20) == expected and histogram.spread(10**6) == expected
