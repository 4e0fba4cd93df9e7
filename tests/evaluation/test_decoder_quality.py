"""All figures of a decoder, with decoders whose noise is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vistok.evaluation.decoder_quality import BANDS, decode_milliseconds, measure_decoder
from vistok.evaluation.metrics import psnr, ssim
from vistok.evaluation.rows import ROWS
from vistok.evaluation.spectrum import power_kept, radial_power, spectrum_error

STEP = 1 / 127.5
"""Between two values of uint8."""


def images(count, side=24, seed=0):
    values = np.random.default_rng(seed).integers(60, 196, (count, 3, side, side))
    return torch.from_numpy(values).float() / 127.5 - 1


def encode(pixels):
    """A token of 16 levels for each 4 x 4 pixels."""
    means = nn.functional.avg_pool2d(pixels.mean(dim=1, keepdim=True), 4)
    return ((means + 1) * 8).long().clamp(0, 15)


class Noisy:
    """Decode to the level of each token, with noise of whole steps of uint8 that depends on the seed."""

    def __init__(self, most):
        self.most = most

    def noise(self, tokens, seed):
        sides = [side * 4 for side in tokens.shape[2:]]
        values = np.random.default_rng(seed).integers(-self.most, self.most + 1, (1, 3, *sides))
        return torch.from_numpy(values).float() * STEP

    def level(self, tokens):
        enlarged = tokens.repeat_interleave(4, 2).repeat_interleave(4, 3)
        return ((enlarged.float() + 0.5) * 16).round() * STEP - 1

    def __call__(self, tokens, seed):
        return self.level(tokens) + self.noise(tokens, seed)


class MeanDifference(nn.Module):
    def forward(self, pixels, reconstruction):
        return (pixels - reconstruction).abs().mean(dim=(1, 2, 3))


def test_figures_are_those_of_their_definitions():
    pixels, decode = images(3), Noisy(60)
    tokens = encode(pixels)
    decoded = decode(tokens, 7)
    quality = measure_decoder([pixels], encode, decode, MeanDifference(), seeds=(7, 8))
    theirs, ours = radial_power(pixels), radial_power(decoded)
    assert quality.images == 3 and quality.milliseconds > 0
    assert quality.psnr == pytest.approx(float(psnr(pixels, decoded).mean()), rel=1e-5)
    assert quality.ssim == pytest.approx(float(ssim(pixels, decoded).mean()), rel=1e-5)
    assert quality.perceptual == pytest.approx(float((pixels - decoded).abs().mean()), rel=1e-5)
    assert quality.power_kept == pytest.approx(power_kept(theirs.bands, ours.bands), rel=1e-5)
    high = float(ours.bands[:, 2:].sum() / theirs.bands[:, 2:].sum())
    assert quality.high_power_kept == pytest.approx(high, rel=1e-5)
    assert quality.spectrum_error == pytest.approx(float(spectrum_error(theirs.rings, ours.rings).mean()), rel=1e-5)
    assert quality.agreement == pytest.approx(float((encode(decoded) == tokens).float().mean()))
    assert 0 < quality.agreement < 1


def test_the_variance_over_seeds_is_that_of_the_noise():
    pixels, decode, seeds = images(4), Noisy(9), (0, 1, 2, 3, 4)
    quality = measure_decoder([pixels], encode, decode, seeds=seeds)
    samples = np.stack([decode(encode(pixels), seed).double().numpy() for seed in seeds])
    assert quality.seed_variance == pytest.approx(samples.var(axis=0, ddof=1).mean(), rel=1e-6)
    assert quality.seed_variance == pytest.approx((19**2 - 1) / 12 * STEP**2, rel=0.05)  # of whole numbers in -9 ... 9
    error = ((samples - pixels.double().numpy()) ** 2).mean()
    assert quality.seed_spread == pytest.approx(2 * quality.seed_variance / error, rel=1e-6)


def test_samples_of_the_true_distribution_have_a_spread_of_one():
    """The image is one more sample: its level plus noise of the same kind."""
    tokens = torch.from_numpy(np.random.default_rng(1).integers(4, 12, (6, 1, 8, 8)))
    decode = Noisy(2)  # too little to change a token
    pixels = torch.cat([decode(each, 100 + index) for index, each in enumerate(tokens.split(1))])
    assert torch.equal(encode(pixels), tokens)
    quality = measure_decoder([pixels], encode, decode)
    assert quality.seed_spread == pytest.approx(1, rel=0.05) and quality.agreement == 1
    assert measure_decoder([pixels], encode, Noisy(0)).seed_spread == 0


def test_one_seed_has_no_variance():
    quality = measure_decoder([images(2)], encode, Noisy(3), seeds=(0,))
    assert quality.seed_variance is None and quality.seed_spread is None and quality.perceptual is None


def test_what_comes_back_whole_has_the_figures_of_the_image_itself():
    pixels = images(2)
    quality = measure_decoder([pixels], encode, lambda tokens, seed: pixels[: len(tokens)])
    assert quality.psnr == math.inf and quality.ssim == pytest.approx(1) and quality.agreement == 1
    assert [*quality.power_kept, quality.high_power_kept] == [1] * 5 and quality.spectrum_error == 0
    assert quality.seed_variance == 0 and quality.seed_spread is None


def test_reconstructions_are_clamped_and_rounded_as_files_are():
    white = torch.ones(1, 3, 24, 24)
    quality = measure_decoder([white], encode, lambda tokens, seed: white * 3 + 0.3 * STEP * (seed + 1))
    assert quality.psnr == math.inf and quality.seed_variance == 0


@pytest.mark.parametrize("parts", [[1] * 5, [2, 3], [4, 1]])
def test_figures_do_not_depend_on_the_batches(parts):
    pixels, decode = images(5), Noisy(6)
    whole = measure_decoder([pixels], encode, decode, MeanDifference())
    assert measure_decoder(pixels.split(parts), encode, decode, MeanDifference())._replace(milliseconds=0) == (
        whole._replace(milliseconds=0)
    )


def test_images_of_several_sizes_count_once_each():
    small, large = images(1), images(2, 40)
    each = [measure_decoder([batch], encode, Noisy(4)) for batch in (small, *large.split(1))]
    together = measure_decoder([small, large], encode, Noisy(4))
    assert together.images == 3
    assert together.psnr == pytest.approx(sum(quality.psnr for quality in each) / 3, rel=1e-6)


def test_a_caller_sees_the_batches_and_all_reconstructions():
    seen = []
    measure_decoder(
        images(3).split(2), encode, Noisy(4), on_batch=lambda pixels, decoded: seen.append((pixels, decoded))
    )
    assert [len(pixels) for pixels, _ in seen] == [2, 1]
    for pixels, decoded in seen:
        assert len(decoded) == 2 and all(each.shape == pixels.shape for each in decoded)
        assert not torch.equal(*decoded)


def test_the_time_is_that_of_a_warm_decoder():
    calls = []

    def decode(tokens, seed):
        calls.append(len(tokens))
        return torch.zeros(len(tokens), 3, 24, 24)

    one, other = decode_milliseconds([decode, decode], torch.zeros(1, 1, 6, 6).long(), rounds=3)
    assert len(calls) == 8 and 0 < one < 1000 and 0 < other < 1000


def test_every_figure_has_a_row():
    figures = measure_decoder([images(1)], encode, Noisy(2)).figures()
    assert set(BANDS) < set(figures) and set(figures) - {"images"} <= set(ROWS)


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="There is no image to measure a decoder on: give images that can be read"):
        measure_decoder([], encode, Noisy(1))
