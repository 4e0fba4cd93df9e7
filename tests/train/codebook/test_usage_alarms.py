"""The codes that tokens are expected to use, against simulation."""

import numpy as np
import pytest
import torch

from vistok.train.codebook.usage_alarms import even_codes, histogram, spread


def simulated(chances, tokens, seed):
    counts = np.random.default_rng(seed).multinomial(tokens, chances)
    fractions = counts[counts > 0] / tokens
    return (counts > 0).sum(), np.exp(-(fractions * np.log(fractions)).sum()), counts


@pytest.mark.parametrize(("tokens", "codes"), [(2, 2), (100, 7), (50, 1000), (1000, 1000), (5000, 1000), (40_000, 16)])
def test_even_use_is_what_uniform_draws_show(tokens, codes):
    draws = [simulated(np.full(codes, 1 / codes), tokens, seed)[0] for seed in range(200)]
    assert even_codes(tokens, codes) == pytest.approx(np.mean(draws), rel=0.02, abs=0.15)


@pytest.mark.parametrize("codes", [1 << 36, 1 << 62])
def test_tokens_far_fewer_than_codes_are_all_different(codes):
    assert even_codes(100_000, codes) == pytest.approx(100_000, rel=1e-3)


def test_the_ends():
    assert even_codes(0, 10) == 0 and even_codes(1, 10) == pytest.approx(1) and even_codes(9, 1) == 1
    assert even_codes(10**12, 1024) == pytest.approx(1024)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.2])
@pytest.mark.parametrize("fraction", [0.03, 0.3])
def test_fewer_tokens_of_the_same_codes(alpha, fraction):
    chances = np.arange(1, 2049) ** -alpha
    chances /= chances.sum()
    *_, counts = simulated(chances, 100_000, seed=99)
    tokens = int(100_000 * fraction)
    used, perplexity = np.mean([simulated(chances, tokens, seed)[:2] for seed in range(1, 20)], axis=0)
    window = histogram(torch.from_numpy(counts))
    found = spread(window, tokens)
    assert found["codes"] == pytest.approx(used, rel=0.07)
    assert found["perplexity"] == pytest.approx(perplexity, rel=0.1)
    assert found == spread(window, tokens)


def test_as_many_tokens_or_more_show_what_was_seen():
    window = histogram(torch.tensor([0, 5, 5, 0, 10]))
    assert [part.tolist() for part in window] == [[5, 10], [2, 1]]
    expected = {"codes": 3, "perplexity": pytest.approx(np.exp(1.5 * np.log(2)))}
    assert spread(window, 20) == expected and spread(window, 10**6) == expected
