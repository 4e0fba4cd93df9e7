import numpy as np
import pytest
import torch
from PIL import Image

from samples import noise_image
from vistok.images.preprocessing import preprocess, to_images, to_pixels
from vistok.tokenizer.preprocessing import PreprocessingConfig


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (1, 500), (7, 3)])
def test_square_of_the_asked_size(size):
    assert preprocess(noise_image(*size), PreprocessingConfig(size=64), 8).shape == (64, 64, 3)


def test_a_picture_of_the_right_size_is_untouched():
    image = noise_image(64, 64)
    assert np.array_equal(preprocess(image, PreprocessingConfig(size=64), 8), np.asarray(image))


@pytest.mark.parametrize(("width", "height"), [(100, 64), (64, 101)])
def test_the_centre_is_kept(width, height):
    image = noise_image(width, height)
    left, top = (width - 64) // 2, (height - 64) // 2
    expected = np.asarray(image)[top : top + 64, left : left + 64]
    assert np.array_equal(preprocess(image, PreprocessingConfig(size=64), 8), expected)


def test_resize_is_pillows_antialiased_filter():
    image = noise_image(200, 120)
    expected = image.resize((107, 64), Image.Resampling.BICUBIC).crop((21, 0, 85, 64))
    assert np.array_equal(preprocess(image, PreprocessingConfig(size=64), 8), np.asarray(expected))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (13, 21), (17, 8)])
def test_native_pads_at_the_end_by_repetition(size):
    image = noise_image(*size)
    pixels = preprocess(image, PreprocessingConfig(size="native"), 8)
    height, width = pixels.shape[:2]
    assert height % 8 == width % 8 == 0 and height - image.height < 8 and width - image.width < 8
    assert np.array_equal(pixels[: image.height, : image.width], np.asarray(image))
    assert (pixels[image.height :] == pixels[image.height - 1]).all()
    assert (pixels[:, image.width :] == pixels[:, image.width - 1 : image.width]).all()


def test_bytes_to_pixels_and_back_is_the_identity():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    pixels = to_pixels(every)
    assert pixels.min() == -1 and pixels.max() == 1
    assert np.array_equal(np.asarray(to_images(pixels)[0]), every[0].numpy())
