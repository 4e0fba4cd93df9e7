"""Profiles are converted to sRGB; expected values are computed from the definitions of the colour spaces."""

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from image_files import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    chunk,
    cmyk_profile,
    decoded,
    encoded,
    gamma_curve,
    grey_profile,
    lab,
    png,
    rgb_profile,
    tiff,
)
from PIL import Image, ImageCms

from samples import image_bytes, noise_image
from vistok.images.opening.open_image import open_image, upright_rgb

NOISE = noise_image(40, 30)
TAGGED = {
    "PNG": {"form": "PNG"},
    "TIFF": {"form": "TIFF"},
    "deflated TIFF": {"form": "TIFF", "compression": "tiff_adobe_deflate"},
    "WebP": {"form": "WEBP", "lossless": True},
}


def seen(levels, primaries, light):
    """Return the sRGB levels of a colour of another space: light of its primaries, XYZ, light of sRGB's, levels."""
    return encoded(light(np.asarray(levels, float)) @ primaries @ np.linalg.inv(SRGB))


@pytest.mark.parametrize("form", sorted(TAGGED))
def test_display_p3_and_adobe_rgb_are_converted(form):
    for primaries, curve, light in (
        (DISPLAY_P3, {}, decoded),
        (ADOBE_RGB, {"curve": gamma_curve(2.19921875)}, lambda levels: (levels / 255) ** 2.19921875),
    ):
        content = image_bytes(NOISE, icc_profile=rgb_profile(primaries, **curve), **TAGGED[form])
        expected = seen(np.asarray(NOISE), primaries, light)
        assert np.abs(np.asarray(open_image(content)) - expected).max() <= 1.5
        assert np.array_equal(np.asarray(open_image(content, colour="ignore")), np.asarray(NOISE))


def test_a_jpeg_is_converted_after_decoding_whatever_the_order_of_the_parts_of_its_profile():
    profile = rgb_profile(DISPLAY_P3)
    plain, tagged = image_bytes(NOISE, "JPEG"), image_bytes(NOISE, "JPEG", icc_profile=profile)
    expected = seen(np.asarray(open_image(plain)), DISPLAY_P3, decoded)
    assert np.abs(np.asarray(open_image(tagged)) - expected).max() <= 1.5

    def part(number, count, content):
        body = b"ICC_PROFILE\0" + bytes((number, count)) + content
        return b"\xff\xe2" + (len(body) + 2).to_bytes(2, "big") + body

    swapped = plain[:2] + part(2, 2, profile[200:]) + part(1, 2, profile[:200]) + plain[2:]
    assert np.array_equal(np.asarray(open_image(swapped)), np.asarray(open_image(tagged)))
    lost = plain[:2] + part(2, 2, profile[200:]) + plain[2:]
    assert np.array_equal(np.asarray(open_image(lost)), np.asarray(open_image(plain)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA"])
@pytest.mark.parametrize("kind", ["library's", "made up", "grey", "CMYK", "zeros", "cut", "words"])
def test_what_is_srgb_or_no_profile_of_the_image_changes_nothing(mode, kind):
    profile = {
        "library's": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "made up": rgb_profile(SRGB),
        "grey": grey_profile(1.8) if mode not in ("L", "LA") else rgb_profile(DISPLAY_P3),
        "CMYK": cmyk_profile(lambda *inks: (50, 0, 0)),
        "zeros": bytes(1000),
        "cut": rgb_profile(DISPLAY_P3)[:200],
        "words": b"no profile at all" * 100,
    }[kind]
    image = NOISE.convert(mode) if mode != "P" else NOISE.quantize(30)
    plain = np.asarray(open_image(image_bytes(image, "PNG")))
    assert np.array_equal(np.asarray(open_image(image_bytes(image, "PNG", icc_profile=profile))), plain)


def test_grey_stays_neutral_and_follows_its_curve():
    every = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    content = image_bytes(every, "PNG", icc_profile=grey_profile(1.8))
    got = np.asarray(open_image(content)).astype(int)
    assert (got[..., 0] == got[..., 1]).all() and (got[..., 0] == got[..., 2]).all()
    assert np.abs(got[0, :, 0] - encoded((np.arange(256) / 255) ** (460.8 / 256))).max() <= 1.5
    deep = Image.fromarray((np.arange(256) * 257).astype(np.uint16)[None])
    assert np.array_equal(np.asarray(open_image(image_bytes(deep, "PNG", icc_profile=grey_profile(1.8)))), got)


INKS = {
    (0, 0, 0, 0): (255, 255, 255),
    (1, 0, 0, 0): (0, 158, 224),
    (0, 1, 0, 0): (226, 0, 122),
    (0, 0, 1, 0): (255, 237, 0),
}


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_inks_have_the_colours_of_their_profile(form):
    profile = cmyk_profile(lambda *inks: lab(INKS.get(inks, (0, 0, 0))))
    for inks, colour in INKS.items():
        image = Image.new("CMYK", (16, 16), tuple(255 * ink for ink in inks))
        tagged = open_image(image_bytes(image, form, icc_profile=profile)).getpixel((8, 8))
        assert tagged == pytest.approx(colour, abs=6), inks
        naive = tuple(255 * (1 - ink) for ink in inks[:3])
        assert open_image(image_bytes(image, form)).getpixel((8, 8)) == pytest.approx(naive, abs=3)


def test_alpha_and_background_are_not_converted():
    levels = np.asarray(NOISE)
    alpha = np.linspace(0, 255, 1200).round().astype(np.uint8).reshape(30, 40)
    image = Image.fromarray(np.dstack([levels, alpha]))
    content = image_bytes(image, "PNG", icc_profile=rgb_profile(DISPLAY_P3))
    got = np.asarray(open_image(content, background=(10, 200, 30)))
    share = alpha[..., None] / 255
    expected = seen(levels, DISPLAY_P3, decoded) * share + np.array((10, 200, 30)) * (1 - share)
    assert np.abs(got - expected).max() <= 2.5
    assert got[0, 0].tolist() == [10, 200, 30]


def test_a_palette_is_converted():
    content = png(
        2, 1, 8, 3, [b"\0\1"], _iccp(rgb_profile(DISPLAY_P3)), chunk(b"PLTE", bytes((200, 100, 50, 9, 90, 180)))
    )
    expected = seen([(200, 100, 50), (9, 90, 180)], DISPLAY_P3, decoded)
    assert np.abs(np.asarray(open_image(content))[0] - expected).max() <= 1.5


def _iccp(profile):
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(profile))


def test_lab_is_read_as_colour():
    for colour in ((220, 90, 80), (100, 180, 90), (128, 128, 128)):
        lightness, a, b = lab(colour)
        content = tiff(1, 1, [bytes((round(lightness * 2.55), round(a) % 256, round(b) % 256))], 8, 8, 3)
        assert open_image(content).getpixel((0, 0)) == pytest.approx(colour, abs=4)


def test_an_opened_image_is_converted_and_left_alone():
    image = Image.open(io.BytesIO(image_bytes(NOISE, "PNG", icc_profile=rgb_profile(DISPLAY_P3))))
    expected = seen(np.asarray(NOISE), DISPLAY_P3, decoded)
    assert np.abs(np.asarray(upright_rgb(image, (0, 0, 0))) - expected).max() <= 1.5
    assert np.array_equal(np.asarray(upright_rgb(image, (0, 0, 0), "ignore")), np.asarray(NOISE))
    assert np.array_equal(np.asarray(image), np.asarray(NOISE))


def test_threads_share_conversions():
    profiles = [
        rgb_profile(DISPLAY_P3),
        rgb_profile(ADOBE_RGB, gamma_curve(2.2)),
        rgb_profile(SRGB),
        rgb_profile(SRGB[::-1]),
    ]
    contents = [image_bytes(noise_image(300, 200, 1), "PNG", icc_profile=profile) for profile in profiles] * 8
    alone = [np.asarray(open_image(content)) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda content: np.asarray(open_image(content)), contents))
    assert all(map(np.array_equal, alone, together))


def test_a_profile_that_loses_black_grey_or_white_is_broken():
    def curve(*levels):
        return b"curv\0\0\0\0" + struct.pack(f">I{len(levels)}H", len(levels), *levels)

    plain = np.asarray(NOISE)
    for profile in (
        rgb_profile(DISPLAY_P3 * 0),
        rgb_profile(DISPLAY_P3 * [[1], [0], [0]]),
        rgb_profile(-DISPLAY_P3),
        rgb_profile(DISPLAY_P3, curve(0, 0, 0)),
        rgb_profile(DISPLAY_P3, curve(65535, 65535, 65535)),
        rgb_profile(DISPLAY_P3, curve(65535, 30000, 0)),
        rgb_profile(DISPLAY_P3, gamma_curve(100)),
    ):
        assert np.array_equal(np.asarray(open_image(image_bytes(NOISE, "PNG", icc_profile=profile))), plain)
    ink = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    blank = cmyk_profile(lambda *inks: lab((255, 255, 255)))
    assert open_image(image_bytes(ink, "TIFF", icc_profile=blank)).getpixel((8, 8)) == (0, 255, 255)


def test_grey_of_linear_light_is_exact():
    every = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    got = np.asarray(open_image(image_bytes(every, "PNG", icc_profile=grey_profile(1))))[0, :, 0]
    assert np.abs(got - encoded(np.arange(256) / 255)).max() <= 0.6
