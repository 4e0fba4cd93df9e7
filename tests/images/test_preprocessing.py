import io
import re

import numpy as np
import pytest
import torch
from image_files import DISPLAY_P3, rgb_profile
from PIL import Image

import vistok
from samples import image_bytes, noise_image
from vistok.images import row_strips
from vistok.images.opening.open_image import ImageError, open_image
from vistok.images.preprocessing import (
    load_pixels,
    preprocess,
    stack_pixels,
    to_images,
    to_pixels,
)
from vistok.images.resizing import resize_short_side
from vistok.tokenizer.config import parse_config
from vistok.tokenizer.preprocessing import PreprocessingConfig


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (64, 64), (1, 500), (7, 3)])
def test_square_of_the_asked_size(size):
    assert preprocess(noise_image(*size), PreprocessingConfig(size=64), 8).shape == (64, 64, 3)


def test_an_image_of_the_right_size_is_untouched():
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


def test_stacked_pixels_are_those_of_the_bytes():
    images = [np.asarray(noise_image(24, 16, seed)) for seed in range(3)]
    stacked = stack_pixels(images)
    assert torch.equal(stacked, to_pixels(torch.from_numpy(np.stack(images))))
    assert stacked.is_contiguous(memory_format=torch.channels_last)
    every = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    assert torch.equal(stack_pixels([every]), to_pixels(torch.from_numpy(every)[None]))


@pytest.mark.parametrize("resampling", ["bicubic", "bilinear", "box", "lanczos"])
def test_ordinary_images_are_resized_whole_and_then_cropped(resampling):
    generator = np.random.default_rng(0)
    for _ in range(25):
        size = int(generator.integers(8, 70))
        short = int(generator.integers(1, 40))
        sides = [short, int(generator.integers(short, 32 * short + 1))]
        image = noise_image(*generator.permutation(sides))
        width, height = (max(size, round(extent * size / short)) for extent in image.size)
        left, top = (width - size) // 2, (height - size) // 2
        whole = image if short == size else image.resize((width, height), Image.Resampling[resampling.upper()])
        expected = np.asarray(whole)[top : top + size, left : left + size]
        assert np.array_equal(preprocess(image, PreprocessingConfig(size=size, resampling=resampling), 8), expected)


@pytest.mark.parametrize("sides", [(3, 700), (3, 701), (700, 5)])
def test_very_long_images_keep_their_centre(sides):
    smooth = Image.linear_gradient("L").resize(sides).convert("RGB")
    got = preprocess(smooth, PreprocessingConfig(size=64), 8)
    width, height = (round(extent * 64 / min(sides)) for extent in sides)
    whole = np.asarray(smooth.resize((width, height), Image.Resampling.BICUBIC))
    top, left = (height - 64) // 2, (width - 64) // 2
    assert np.abs(got.astype(int) - whole[top : top + 64, left : left + 64]).max() <= 1


def test_a_line_of_any_length_is_resized_in_little_memory():
    assert resize_short_side(noise_image(1, 60_000), 256, "bicubic").size == (256, 256 * 32)
    assert resize_short_side(noise_image(60_001, 1), 256, "bicubic").size == (256 * 33, 256)


@pytest.mark.parametrize("size", [64, "native"])
@pytest.mark.parametrize("colour", ["srgb", "ignore"])
def test_loading_is_opening_and_preprocessing(size, colour):
    content = image_bytes(noise_image(100, 70), "PNG", icc_profile=rgb_profile(DISPLAY_P3))
    config = PreprocessingConfig(size=size, colour=colour, background=(1, 2, 3))
    expected = preprocess(open_image(content, (1, 2, 3), colour), config, 8)
    for given in (content, io.BytesIO(content)):
        loaded = load_pixels(given, config, 8)
        assert np.array_equal(loaded.pixels, expected) and loaded[1:] == (100, 70)
        assert loaded.pixels.dtype == np.uint8 and loaded.pixels.flags.c_contiguous and loaded.pixels.flags.writeable
    with pytest.raises(ImageError, match="the file is empty"):
        load_pixels(b"", config, 8)


def test_width_and_height_are_those_of_the_upright_original():
    exif = Image.Exif()
    exif[0x112] = 8
    loaded = load_pixels(image_bytes(noise_image(40, 30), "JPEG", exif=exif), PreprocessingConfig(size=16), 8)
    assert loaded[1:] == (30, 40) and loaded.pixels.shape == (16, 16, 3)


def test_the_colour_of_a_config_is_srgb_or_ignore():
    assert PreprocessingConfig().colour == "srgb"
    with pytest.raises(ValueError, match="colour"):
        PreprocessingConfig(colour="p3")


def test_native_pixels_do_not_depend_on_the_strips_they_are_made_in(monkeypatch):
    image = noise_image(50, 37)
    whole = preprocess(image, PreprocessingConfig(size="native"), 8)
    monkeypatch.setattr(row_strips, "STRIP_PIXELS", 50 * 7)
    assert np.array_equal(preprocess(image, PreprocessingConfig(size="native"), 8), whole)


def test_a_size_that_no_memory_holds_is_refused():
    sentence = (
        "preprocessing.size is 16385, but must be at most 16384 or 'native' or area:N or area:MIN-MAX, from 1 to 8192."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        parse_config(PreprocessingConfig, {"size": 16385}, "preprocessing")


@pytest.mark.parametrize(
    "size", ["big", "area:", "area:0", "area:9-3", "area:8193", "area:1-9000", "area:2.5", "Area:64"]
)
def test_a_wrong_size_is_refused_in_one_sentence(size):
    choices = "a whole number or 'native' or area:N or area:MIN-MAX, from 1 to 8192"
    sentence = f"preprocessing.size is '{size}', but must be {choices}."
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        parse_config(PreprocessingConfig, {"size": size}, "preprocessing")


def test_sizes_are_read_in_both_forms():
    assert PreprocessingConfig(size="area:64").area == (64, 64) and PreprocessingConfig(size="area:64").side is None
    assert PreprocessingConfig(size="area:16-8192").area == (16, 8192)
    assert PreprocessingConfig(size=64).side == 64 and PreprocessingConfig(size=64).area is None
    assert PreprocessingConfig(size="native").side is None and PreprocessingConfig(size="native").area is None
    with pytest.raises(ValueError, match="^size is -1, but must be at least 1 or 'native' or area:N"):
        parse_config(PreprocessingConfig, {"size": -1})


def test_settings_at_their_defaults_are_not_in_the_fingerprint():
    config = vistok.load("photo-f8", device="cpu").config.preprocessing
    assert config.model_dump(exclude_defaults=True) == {} and len(config.model_dump()) > 5
