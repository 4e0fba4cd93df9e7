"""Resizes with the rounding of other libraries, compared with them or with the same steps in Pillow."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from samples import noise_image
from vistok.images.preprocessing import preprocess
from vistok.tokenizer.preprocessing import PreprocessingConfig


def images(count=30, most=5.5):
    generator = np.random.default_rng(3)
    for _ in range(count):
        yield noise_image(*(int(side) for side in np.exp(generator.uniform(most - 2.5, most, 2))))


@pytest.mark.parametrize("resampling", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("ratio", [1, 1.125])
def test_torchvision_resizes_and_crops_alike(resampling, ratio):
    """VAR (Lanczos) and UniTok (bilinear) resize to 1.125 times the crop; TiTok and open-muse resize to it."""
    config = PreprocessingConfig(
        size=64, resize_ratio=ratio, crop="even_centre", rounding="down", resampling=resampling
    )
    theirs = Compose([Resize(round(ratio * 64), InterpolationMode(resampling)), CenterCrop(64)])
    for image in images():
        assert np.array_equal(preprocess(image, config, 8), np.asarray(theirs(image)))


def test_box_halving_goes_on_until_the_short_side_is_less_than_twice_the_size():
    """As in guided diffusion (https://github.com/openai/guided-diffusion, image_datasets.py)."""
    config = PreprocessingConfig(size=16, halve_first=True)
    halvings = set()
    for image in images(most=5):
        small, count = image, 0
        while min(small.size) >= 32:
            small, count = small.resize([side // 2 for side in small.size], Image.Resampling.BOX), count + 1
        scale = 16 / min(small.size)
        resized = small.resize([round(side * scale) for side in small.size], Image.Resampling.BICUBIC)
        left, top = ((side - 16) // 2 for side in resized.size)
        expected = resized.crop((left, top, left + 16, top + 16))
        assert np.array_equal(preprocess(image, config, 8), np.asarray(expected))
        halvings.add(count)
    assert halvings >= {0, 1, 2}


@pytest.mark.parametrize(("rounding", "whole"), [("nearest", round), ("down", int)])
def test_without_a_crop_the_image_lies_in_the_middle_of_a_square(rounding, whole):
    config = PreprocessingConfig(size=64, crop="none", rounding=rounding, background=(127, 9, 8))
    for image in images():
        long = max(image.size)
        width, height = (whole(side / long * 64) for side in image.size)
        resized = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
        top, left = (64 - height) // 2, (64 - width) // 2
        expected = np.full((64, 64, 3), (127, 9, 8), np.uint8)
        expected[top : top + height, left : left + width] = resized
        assert np.array_equal(preprocess(image, config, 8), expected)


def test_shrinking_rounds_sides_down():
    config = PreprocessingConfig(size="native", fit="shrink", resampling="lanczos")
    expected = noise_image(70, 45).resize((64, 40), Image.Resampling.LANCZOS)
    assert np.array_equal(preprocess(noise_image(70, 45), config, 8), np.asarray(expected))
    assert np.array_equal(preprocess(noise_image(64, 40), config, 8), np.asarray(noise_image(64, 40)))
    assert preprocess(noise_image(3, 9), config, 8).shape == (8, 8, 3)


def test_linear_takes_two_pixels_however_large_the_image_is():
    """A checkerboard that an antialiased filter would turn grey stays black and white at odd factors."""
    board = np.indices((96, 96)).sum(axis=0) % 2 * 255
    image = Image.fromarray(np.dstack([board] * 3).astype(np.uint8))
    linear = preprocess(image, PreprocessingConfig(size=32, resampling="linear"), 8)
    assert np.array_equal(linear, np.asarray(image)[1::3, 1::3])
    assert np.ptp(preprocess(image, PreprocessingConfig(size=32, resampling="bilinear"), 8).astype(int)) < 60
    ramp = Image.fromarray(np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2))
    halved = preprocess(ramp, PreprocessingConfig(size=32, resampling="linear"), 8)
    assert np.array_equal(halved[0, :, 0], np.arange(2, 256, 8))  # the mean of two neighbours


def test_chameleon_and_janus_of_transformers_resize_alike():
    from vistok.pretrained.importers.chameleon import CHAMELEON_OF_TRANSFORMERS
    from vistok.pretrained.importers.llamagen import JANUS_OF_TRANSFORMERS

    chameleon = pytest.importorskip("transformers.models.chameleon.image_processing_pil_chameleon")
    janus = pytest.importorskip("transformers.models.janus.image_processing_pil_janus")
    grey = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}  # as Janus's repository has it
    for image in images(6):
        theirs = chameleon.ChameleonImageProcessorPil()(images=[image], return_tensors="np")["pixel_values"][0]
        expected = np.rint((theirs + 1) / 0.0078).transpose(1, 2, 0)
        assert np.array_equal(preprocess(image, CHAMELEON_OF_TRANSFORMERS.translation.preprocessing, 16), expected)
        theirs = janus.JanusImageProcessorPil(**grey)(images=[image], return_tensors="np")["pixel_values"][0]
        expected = np.rint((theirs + 1) * 127.5).transpose(1, 2, 0)
        assert np.array_equal(preprocess(image, JANUS_OF_TRANSFORMERS.translation.preprocessing, 16), expected)
