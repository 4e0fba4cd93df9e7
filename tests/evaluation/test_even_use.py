import itertools
import math

import numpy as np
import pytest

from vistok.evaluation.even_use import WITHOUT_SPREAD, even_counts, even_perplexity
from vistok.evaluation.usage import even_usage


@pytest.mark.parametrize(("tokens", "codes"), [(1, 3), (4, 3), (6, 2), (3, 5), (5, 1)])
def test_all_draws_one_by_one(tokens, codes):
    draws = [np.bincount(draw, minlength=codes) for draw in itertools.product(range(codes), repeat=tokens)]
    numbers, expected = even_counts(tokens, codes)
    for number, mean in zip(numbers, expected, strict=True):
        assert mean == pytest.approx(np.mean([(draw == number).sum() for draw in draws]))
    fractions = [draw[draw > 0] / tokens for draw in draws]
    entropy = np.mean([-(each * np.log(each)).sum() for each in fractions])
    assert even_perplexity(tokens, codes) == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize(("tokens", "codes"), [(100, 1000), (12_288, 64_800), (10**6, 512), (10**9, 2**20)])
def test_codes_and_tokens_add_up_and_usage_is_that_of_the_formula(tokens, codes):
    numbers, expected = even_counts(tokens, codes)
    assert expected.sum() == pytest.approx(codes)
    assert (numbers * expected).sum() == pytest.approx(tokens)
    unused = expected[numbers == 0].sum()
    assert 1 - unused / codes == pytest.approx(even_usage(tokens, codes), abs=1e-9)


def test_a_draw_has_about_that_perplexity():
    generator = np.random.default_rng(0)
    counts = np.bincount(generator.integers(0, 5000, 8000), minlength=5000)
    fractions = counts[counts > 0] / 8000
    assert even_perplexity(8000, 5000) == pytest.approx(np.exp(-(fractions * np.log(fractions)).sum()), rel=0.01)


def test_it_is_below_the_codes_and_nothing_without_tokens():
    assert even_perplexity(0, 10) == 0
    assert even_perplexity(1, 10) == pytest.approx(1)
    assert 9.99 < even_perplexity(100_000, 10) < 10
    assert even_perplexity(int(20 * WITHOUT_SPREAD), 10) == pytest.approx(10)
