import base64
import io

import numpy as np
import pytest
from PIL import Image

from pages import Page
from samples import noise_image
from vistok.report.content import Comparison, Report
from vistok.report.images import data_url
from vistok.report.page import render


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_both_images_are_on_the_page():
    original, reconstruction = Image.new("RGB", (64, 48), (200, 10, 10)), Image.new("RGB", (64, 48), (10, 10, 200))
    page = Page(render(Report("t", comparisons=[Comparison("flag", original, reconstruction)])))
    shown = {image["alt"]: decoded(image["src"]) for image in page.all("img")}
    assert shown["original: flag"].getpixel((5, 5)) == (200, 10, 10)
    assert shown["reconstruction: flag"].getpixel((5, 5)) == (10, 10, 200)
    assert len(page.all("input")) == 1


def test_small_images_lose_nothing_and_large_ones_are_reduced():
    small = noise_image(32, 20)
    assert decoded(data_url(small)).tobytes() == small.tobytes()
    large = Image.new("RGB", (3000, 1500), (10, 200, 30))
    shown = decoded(data_url(large))
    assert shown.size == (1024, 512) and large.size == (3000, 1500)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_images_of_any_mode_are_shown(mode):
    assert decoded(data_url(noise_image(120, 100).convert(mode))).size == (120, 100)


def test_eight_comparisons_make_a_page_of_moderate_size():
    gradient = np.linspace(0, 255, 256)
    smooth = np.stack([np.add.outer(gradient, gradient) / 2] * 3, -1)
    noise = np.random.default_rng(0).normal(0, 6, smooth.shape)
    image = Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))
    pairs = [Comparison(str(index), image, image) for index in range(8)]
    assert len(render(Report("t", comparisons=pairs))) < 1_500_000
