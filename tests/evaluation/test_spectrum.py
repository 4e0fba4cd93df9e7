"""Radial power against an explicit sum in numpy, and on images whose spectrum is known."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from vistok.evaluation.spectrum import (
    EDGES,
    power_kept,
    power_returned,
    radial_power,
    spectrum_error,
)


def noise(count, height, width, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def plane(height, width):
    """The radius of every frequency of the whole plane, 1 at the Nyquist frequency."""
    down, across = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    return np.hypot(down, across) / 0.5


def explicit(image, window):
    """Bands and rings of one image `c h w`, frequency by frequency."""
    grey = image.double().numpy().mean(axis=0)
    height, width = grey.shape
    weights = np.ones_like(grey)
    if window:
        rows, columns = np.arange(height)[:, None], np.arange(width)[None]
        weights = (np.sin(np.pi * rows / height) * np.sin(np.pi * columns / width)) ** 2
    power = np.abs(np.fft.fft2(grey * weights)) ** 2 / (weights**2).sum()
    radii, side = plane(height, width), min(height, width)
    bands = [power[(radii >= low) & (radii < high)].sum() for low, high in pairwise(EDGES)]
    cycles = radii * side / 2
    rings = [power[(cycles >= k - 0.5) & (cycles < k + 0.5)].mean() for k in range(1, side) if k + 0.5 <= side / 2]
    return np.array(bands), np.array(rings)


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 32), (20, 33), (17, 24), (23, 19)])
def test_power_is_the_sum_over_frequencies(height, width, window):
    pixels = noise(3, height, width)
    power = radial_power(pixels, window)
    for image, bands, rings in zip(pixels, *power, strict=True):
        expected = explicit(image, window)
        np.testing.assert_allclose(bands.numpy(), expected[0], rtol=1e-10)
        np.testing.assert_allclose(rings.numpy(), expected[1], rtol=1e-10)


def test_white_noise_has_its_variance_at_every_frequency():
    rings = radial_power(noise(60, 48, 64)).rings.mean(dim=0)[3:]  # the first rings have few frequencies
    assert rings.sub(1 / 3).abs().max() < 0.03  # the variance of a mean of three channels
    assert float(rings.mean()) == pytest.approx(1 / 3, rel=0.01)


@pytest.mark.parametrize(("cycles", "band"), [(6, 0), (12, 1), (20, 2), (28, 3)])
def test_a_wave_has_its_power_in_its_band(cycles, band):
    wave = torch.sin(2 * torch.pi * cycles * torch.arange(64) / 64).expand(1, 3, 64, 64)
    bands = radial_power(wave).bands[0]
    assert float(bands[band]) == pytest.approx(64 * 64 / 2, rel=1e-4)
    assert float(bands.sum() - bands[band]) < 1


def test_waves_across_and_down_are_alike():
    pixels = noise(2, 32, 32)
    torch.testing.assert_close(radial_power(pixels), radial_power(pixels.mT), rtol=1e-12, atol=0)


@pytest.mark.parametrize("gain", [0.5, 1.0, 1.5])
def test_a_gain_keeps_its_square_and_errs_by_its_decibels(gain):
    pixels = noise(3, 32, 48)
    before, after = radial_power(pixels), radial_power(gain * pixels)
    assert power_kept(before.bands, after.bands) == pytest.approx([gain**2] * 4, rel=1e-6)
    decibels = abs(20 * math.log10(gain))
    assert spectrum_error(before.rings, after.rings).tolist() == pytest.approx([decibels] * 3, rel=1e-5, abs=1e-12)


def blurred(pixels):
    """Circular convolution with [1, 2, 1] / 4 along both sides: its transfer function is cos^2(pi f) of each."""
    for dim in (2, 3):
        pixels = (pixels.roll(1, dim) + 2 * pixels + pixels.roll(-1, dim)) / 4
    return pixels


def test_blurred_noise_keeps_what_the_transfer_function_says():
    pixels = noise(20, 64, 64).double()
    down, across = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij")
    gain = (np.cos(np.pi * down) * np.cos(np.pi * across)) ** 4
    spectrum = np.abs(np.fft.fft2(pixels.numpy().mean(axis=1))) ** 2
    radii = plane(64, 64)
    masks = [(radii >= low) & (radii < high) for low, high in pairwise(EDGES)]
    exact = [(spectrum * gain)[:, mask].sum() / spectrum[:, mask].sum() for mask in masks]
    pair = radial_power(pixels, window=False), radial_power(blurred(pixels), window=False)
    assert power_kept(*(power.bands for power in pair)) == pytest.approx(exact, rel=1e-10)
    windowed = radial_power(pixels), radial_power(blurred(pixels))
    expected = [gain[mask].mean() for mask in masks]
    assert power_kept(*(power.bands for power in windowed)) == pytest.approx(expected, abs=0.01)


def test_the_window_hides_the_jump_between_opposite_borders():
    """A slope has no fine detail, though its ends are far apart; all it has without a window is that jump."""
    slope = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    ours, without = radial_power(slope).bands[0], radial_power(slope, window=False).bands[0]
    assert (ours < 1e-2 * without).all() and float(ours[-1]) < 1e-5 * float(without[-1])


def test_returned_power_is_a_fraction_of_what_was_lost():
    original = torch.tensor([[5.0, 20], [15, 20]])
    plain = torch.tensor([[1.0, 2], [4, 8]])
    assert power_kept(original, plain) == [1 / 4, 1 / 4]  # of all images together: one by one they keep 1/5 and 4/15
    assert power_returned(0.25, 0.625) == 0.5 and power_returned(0.25, 1.75) == 2
    assert power_returned(0.25, 0.25) == 0 and power_returned(0.25, 1) == 1


def test_power_below_rounding_is_no_error():
    flat = radial_power(torch.zeros(1, 3, 32, 32)).rings
    faint = radial_power(noise(1, 32, 32) * 1e-4).rings
    assert spectrum_error(flat, faint).tolist() == [0] and spectrum_error(flat, flat).tolist() == [0]


def test_an_image_among_others_is_the_image_alone():
    pixels = noise(4, 24, 40)
    together, alone = radial_power(pixels), [radial_power(each) for each in pixels.split(1)]
    torch.testing.assert_close(together.bands, torch.cat([each.bands for each in alone]), rtol=1e-12, atol=0)
    torch.testing.assert_close(together.rings, torch.cat([each.rings for each in alone]), rtol=1e-12, atol=0)


def test_small_images_are_refused():
    with pytest.raises(
        ValueError, match="A spectrum of 15 x 40 pixels has empty bands: give images of at least 16 x 16"
    ):
        radial_power(torch.zeros(1, 3, 15, 40))
