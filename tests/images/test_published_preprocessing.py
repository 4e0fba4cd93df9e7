"""Sizes, resizes and blending are those of the original code, to the bit."""

import functools
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from golden_weights import GOLDEN, golden_image
from samples import image_bytes
from vistok.images.opening.open_image import open_image, upright_rgb
from vistok.images.preprocessing import load_pixels, preprocess
from vistok.images.sizes import network_size
from vistok.pretrained.importers.chameleon import CHAMELEON
from vistok.pretrained.importers.emu35 import EMU35
from vistok.pretrained.importers.llamagen import LLAMAGEN
from vistok.pretrained.importers.taming import TAMING
from vistok.tokenizer.preprocessing import PreprocessingConfig

CASES = json.loads((GOLDEN / "preprocessing.json").read_text())
SIZES = [(rule["size"], rule["multiple"], *row) for rule in CASES["sizes"] for row in rule["from_to"]]
IMAGES = [(image, name, result) for image in CASES["images"] for name, result in image["results"].items()]
CONFIGS = {
    "LlamaGen": LLAMAGEN.translation.preprocessing,
    "Emu3.5": EMU35.translation.preprocessing.model_copy(update={"size": "area:256"}),
    "Chameleon": CHAMELEON.translation.preprocessing.model_copy(update={"size": 256}),
    "OpenCV": TAMING.translation.preprocessing,
}


original = functools.cache(golden_image)


def check(pixels, result):
    assert list(pixels.shape) == result["shape"]
    for y, x, c, value in result["samples"]:
        assert pixels[y, x, c] == value
    assert zlib.crc32(np.ascontiguousarray(pixels).tobytes()) == result["crc32"]


@pytest.mark.parametrize(("size", "multiple", "before", "after"), SIZES)
def test_sizes(size, multiple, before, after):
    assert list(network_size(PreprocessingConfig(size=size), *before, multiple)) == after
    assert list(network_size(PreprocessingConfig(size=size, multiple=multiple), *before, 1)) == after


@pytest.mark.parametrize(("image", "name", "result"), IMAGES, ids=[f"{i['seed']}-{name}" for i, name, _ in IMAGES])
def test_pixels(image, name, result):
    pixels = original(image["seed"], *image["size"])
    assert zlib.crc32(pixels.tobytes()) == image["image_crc32"]
    check(preprocess(Image.fromarray(pixels), CONFIGS[name], 16), result)
    check(load_pixels(image_bytes(Image.fromarray(pixels), "PNG"), CONFIGS[name], 16).pixels, result)


def transparent_image():
    height, width = CASES["transparency"]["size"]
    alpha = np.floor(255 * np.random.Generator(np.random.Philox(13)).uniform(0, 1, (height, width)))
    rgb = golden_image(CASES["transparency"]["seed"], height, width)
    return Image.fromarray(np.dstack([rgb, alpha.astype(np.uint8)]))


def test_truncated_blending():
    image, settings = transparent_image(), ((255, 255, 255), "ignore", "truncated")
    check(np.asarray(upright_rgb(image, *settings)), CASES["transparency"]["result"])
    check(np.asarray(open_image(image_bytes(image, "PNG"), *settings)), CASES["transparency"]["result"])
    rounded = np.asarray(upright_rgb(image, (255, 255, 255))).astype(int)
    difference = rounded - np.asarray(upright_rgb(image, *settings))
    assert set(np.unique(difference)) == {0, 1}


def test_truncated_blending_is_used_wherever_images_are_opened():
    image = transparent_image()
    config = CHAMELEON.translation.preprocessing.model_copy(update={"size": "native"})
    check(load_pixels(image_bytes(image, "PNG"), config, 16).pixels, CASES["transparency"]["result"])
