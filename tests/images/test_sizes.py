"""The size that is promised is the size that comes out, and the original is where it is said to be."""

import math

import numpy as np
import pytest
from PIL import Image

from samples import noise_image
from vistok.images.preprocessing import preprocess
from vistok.images.sizes import network_size, original_box
from vistok.tokenizer.preprocessing import PreprocessingConfig

CONFIGS = [
    PreprocessingConfig(**values)
    for values in (
        {"size": 48},
        {"size": 48, "resize_ratio": 1.125, "crop": "even_centre", "rounding": "down", "resampling": "lanczos"},
        {"size": 48, "crop": "none"},
        {"size": 48, "crop": "none", "rounding": "down", "halve_first": True},
        {"size": 48, "halve_first": True, "resize_ratio": 1.5},
        {"size": 48, "resampling": "linear"},
        {"size": "native"},
        {"size": "native", "fit": "surround", "multiple": 12},
        {"size": "native", "fit": "shrink", "resampling": "lanczos"},
        {"size": "area:40"},
        {"size": "area:40", "multiple": 10, "resampling": "linear"},
        {"size": "area:4"},
        {"size": "area:30-70"},
        {"size": "area:40-40"},
    )
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_image_gets_the_promised_size(config):
    generator = np.random.default_rng(0)
    for _ in range(40):
        width, height = (int(side) for side in np.exp(generator.uniform(0, 5.5, 2)))
        promised = network_size(config, height, width, 8)
        assert preprocess(noise_image(width, height), config, 8).shape == (*promised, 3)
        multiple = math.lcm(8, 1 if config.side else config.multiple)
        assert promised[0] % multiple == promised[1] % multiple == 0 and min(promised) > 0


def ordinary(count=300):
    generator = np.random.default_rng(1)
    return [
        (int(height), int(height * aspect)) for height, aspect in generator.uniform([64, 0.5], [3000, 2], (count, 2))
    ]


def test_an_area_is_near_that_of_the_square_and_keeps_the_aspect_ratio():
    for height, width in ordinary():
        rows, columns = network_size(PreprocessingConfig(size="area:512"), height, width, 16)
        assert rows * columns == pytest.approx(512**2, rel=0.06)
        assert columns / rows == pytest.approx(width / height, rel=0.06)


def test_within_a_range_of_areas_sides_are_only_rounded():
    config = PreprocessingConfig(size="area:512-1024")
    for height, width in ordinary():
        rows, columns = network_size(config, height, width, 8)
        nearest = [round(side / 8) * 8 for side in (height, width)]
        if 512**2 <= math.prod(nearest) <= 1024**2:
            assert [rows, columns] == nearest
        assert 512**2 <= rows * columns <= 1024**2
        assert columns / rows == pytest.approx(width / height, rel=0.03)


def test_a_line_of_any_length_is_resized_to_an_area_in_little_memory():
    for size in ("area:64", "area:16-64"):
        config = PreprocessingConfig(size=size)
        for width, height in ((1, 60_000), (60_001, 1), (3, 40_000)):
            pixels = preprocess(noise_image(width, height), config, 8)
            assert pixels.shape[:2] == network_size(config, height, width, 8)
            assert pixels.size <= 3 * 64**2 * 1.5
    for width, height in ((1, 2**27), (2**27, 1), (11585, 11585), (1, 1)):
        for size, most in (("area:512", 512), ("area:128-1400", 1400)):
            rows, columns = network_size(PreprocessingConfig(size=size), height, width, 16)
            assert rows * columns <= most**2 * 1.1


def test_transformers_computes_the_same_sizes():
    emu3 = pytest.importorskip("transformers.models.emu3.image_processing_emu3")
    generator = np.random.default_rng(2)
    for low, high, multiple in ((512, 1024, 8), (128, 1400, 16), (40, 90, 8)):
        config = PreprocessingConfig(size=f"area:{low}-{high}")
        for _ in range(500):
            height, width = (int(side) for side in np.exp(generator.uniform(2.3, 8, 2)))
            if max(height, width) < 100 * min(height, width):  # transformers refuses, and vistok crops, very long ones
                expected = emu3.smart_resize(height, width, multiple, low**2, high**2)
                assert network_size(config, height, width, multiple) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"size": "native"},
        {"size": "native", "multiple": 16},
        {"size": "native", "fit": "surround", "multiple": 16, "background": (1, 2, 3)},
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 40), (50, 33), (31, 9)])
def test_the_original_is_where_it_is_said_to_be(values, size):
    config, image = PreprocessingConfig(**values), noise_image(*size)
    pixels = preprocess(image, config, 8)
    box = original_box(config, image.height, image.width, 8)
    assert np.array_equal(np.asarray(Image.fromarray(pixels).crop(box)), np.asarray(image))


def test_surrounding_adds_the_smaller_half_before():
    """Cosmos: black, up to a multiple of 16 even where the downsampling is 8."""
    config = PreprocessingConfig(size="native", fit="surround", multiple=16, background=(0, 0, 0))
    image = noise_image(35, 21)
    expected = np.pad(np.asarray(image), ((5, 6), (6, 7), (0, 0)))
    assert np.array_equal(preprocess(image, config, 8), expected)
    assert original_box(config, 21, 35, 8) == (6, 5, 41, 26)


def test_where_nothing_is_added_all_is_the_original():
    for values in ({"size": 64}, {"size": "area:64"}, {"size": "native", "fit": "shrink"}):
        assert original_box(PreprocessingConfig(**values), 50, 70, 8) is None
    assert original_box(PreprocessingConfig(size=64, crop="none"), 50, 100, 8) == (0, 16, 64, 48)
