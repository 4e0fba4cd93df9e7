"""What a prior finds in data whose entropy is known, and that nothing but the data and the seed matters."""

import itertools
import math

import pytest
import torch

from vistok.evaluation.prior.measure import ImageTokens, measure_prior
from vistok.evaluation.prior.recipe import RECIPE
from vistok.evaluation.prior.training import rate
from vistok.tokenizer.quantizers import build_quantizer

SMALL = RECIPE._replace(width=32, depth=2, heads=2, context=128, lr=5e-3, output_lr=1.0)
CPU = torch.device("cpu")


def vq(codes):
    return build_quantizer({"name": "vq", "dim": 3, "codebook_size": codes})


def as_images(tokens):
    return [ImageTokens(str(index), each, 64) for index, each in enumerate(tokens)]


def measured(tokens, quantizer, steps=40, **more):
    return measure_prior(as_images(tokens), quantizer, steps, CPU, recipe=SMALL, **more)


def uniform(codes, count=60, grid=(6, 6), q=1, seed=0):
    return torch.randint(codes, (count, q, *grid), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("codes", [16, 1000])
def test_uniform_tokens_need_log2_of_the_codes(codes):
    figures = measured(uniform(codes), vq(codes), steps=20).figures()
    assert figures["prior_fraction"] == pytest.approx(1, abs=0.01)
    assert figures["prior_bits_per_token"] == pytest.approx(math.log2(codes), rel=0.01)


def test_a_pattern_needs_next_to_nothing():
    across, down = torch.meshgrid(torch.arange(6), torch.arange(6), indexing="ij")
    starts = torch.randint(16, (60, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    prior = measured((starts + 3 * across + 5 * down) % 16, vq(16), steps=120)
    assert prior.figures()["prior_bits_per_token"] < 4 / 36 + 0.15  # the first token is uniform
    assert math.fsum(prior.frequency_bits) / prior.tokens > 3.9


def test_a_skewed_source_needs_its_entropy():
    chances = torch.tensor([0.5, 0.25, 0.125] + [0.125 / 29] * 29)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.multinomial(chances, 200 * 36, replacement=True, generator=generator).reshape(200, 1, 6, 6)
    entropy = -float((chances * chances.log2()).sum())
    figures = measured(tokens, vq(32), steps=20).figures()
    assert figures["prior_bits_per_token"] == pytest.approx(entropy, rel=0.03)
    assert figures["prior_fraction"] == pytest.approx(entropy / 5, rel=0.03)


def test_a_second_codebook_that_repeats_the_first_is_free():
    first = uniform(8, count=100)
    quantizer = build_quantizer(
        {"name": "residual", "depth": 2, "quantizer": {"name": "vq", "dim": 3, "codebook_size": 8}}
    )
    figures = measured(torch.cat([first, (first + 3) % 8], dim=1), quantizer, steps=120).figures()
    assert figures["prior_bits_per_token"] == pytest.approx(1.5, abs=0.2)


def test_figures_are_means_over_images_pixels_and_tokens():
    prior = measured(uniform(16, q=1), vq(16), steps=1)
    figures, bits = prior.figures(), math.fsum(prior.bits)
    assert len(prior.bits) == 12 and prior.tokens == 12 * 36 and prior.pixels == 12 * 64
    assert figures == {
        "prior_bits_per_image": bits / 12,
        "prior_bits_per_pixel": bits / (12 * 64),
        "prior_bits_per_token": bits / (12 * 36),
        "prior_fraction": bits / (12 * 36) / 4,
    }
    error = torch.tensor(prior.bits, dtype=torch.float64).std() / 12**0.5
    assert prior.facts()["standard_error_of_bits_per_image"] == pytest.approx(float(error))
    assert prior.facts()["images"] == {"train": 42, "validation": 6, "held_out": 12}


def test_native_sizes_and_scales_are_measured():
    generator = torch.Generator().manual_seed(0)
    grids = [(1 + index % 4, 3 + index % 15) for index in range(30)]
    tokens = [torch.randint(16, (1, *grid), generator=generator) for grid in grids]
    assert measured(tokens, vq(16), steps=4).figures()["prior_fraction"] == pytest.approx(1, abs=0.05)
    scales = build_quantizer(
        {"name": "multiscale", "scales": [1, 2, 3], "quantizer": {"name": "vq", "dim": 3, "codebook_size": 16}}
    )
    tokens = torch.arange(14).expand(30, 1, 1, 14)
    assert measured(tokens, scales, steps=60).figures()["prior_bits_per_token"] < 0.5


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_results_do_not_depend_on_threads_or_on_the_callers_settings(threads):
    found, quantizer = [], vq(16)
    tokens = uniform(16, count=20).cumsum(dim=3) // 7 % 16  # something to learn
    for count in (1, 2, 3):
        threads(count)
        torch.manual_seed(count)
        with torch.autocast("cpu", torch.bfloat16), torch.inference_mode(count == 2):
            found.append(measured(tokens, quantizer, steps=4))
    assert found[0].kept.step == 4 and found[0].bits == found[1].bits == found[2].bits
    assert found[0].checks == found[1].checks == found[2].checks


def test_the_seed_matters_and_the_callers_random_numbers_stay():
    torch.manual_seed(5)
    quantizer, tokens, state = vq(16), uniform(16, count=20), torch.get_rng_state()
    one, other = (measured(tokens, quantizer, steps=3, seed=seed) for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.checks[0] == other.checks[0] and one.checks[1:] != other.checks[1:]


def test_the_weights_of_the_best_check_are_kept():
    prior = measured(uniform(50, count=12), vq(50), steps=60)  # too few images: it learns them by heart
    assert [check.step for check in prior.checks] == [0, 12, 24, 36, 48, 60]
    assert prior.kept == min(prior.checks, key=lambda check: check.bits_per_symbol) and prior.kept.step < 60
    assert prior.figures()["prior_fraction"] < 1.02


def test_rates_rise_and_fall():
    rates = [rate(step, 100, RECIPE) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([index / 10 for index in range(1, 11)]) and rates[9] == max(rates) == 1
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[9:])) and 0 < rates[-1] < 0.001
    assert rate(1, 1, RECIPE) == 1 and rate(100, 5000, RECIPE) == 1
