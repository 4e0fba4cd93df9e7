"""Images of every mode become upright RGB, or an ImageError."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from samples import image_bytes, noise_image
from vistok.images.opening.open_image import MAX_PIXELS, ImageError, open_image, upright_rgb


def colour_of(content):
    image = open_image(content)
    assert image.mode == "RGB"
    return np.asarray(image).reshape(-1, 3).mean(axis=0).round().astype(int).tolist()


RED = Image.new("RGB", (20, 10), (250, 10, 10))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_are_read_exactly(form):
    image = noise_image(13, 7)
    assert np.array_equal(np.asarray(open_image(image_bytes(image, form))), np.asarray(image))


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "GIF"])
def test_other_formats_keep_the_colour(form):
    assert colour_of(image_bytes(RED, form)) == pytest.approx([250, 10, 10], abs=6)


def test_colour_models_are_converted():
    assert colour_of(image_bytes(RED.convert("P"), "PNG")) == pytest.approx([250, 10, 10], abs=6)
    assert colour_of(image_bytes(Image.new("L", (4, 4), 99), "PNG")) == [99, 99, 99]
    assert colour_of(image_bytes(Image.new("1", (4, 4), 1), "PNG")) == [255, 255, 255]
    assert colour_of(image_bytes(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")) == pytest.approx(
        [255, 0, 0], abs=6
    )


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (32768, 128), (65535, 255), (256, 1)])
def test_sixteen_bits_are_scaled_not_clipped(value, grey):
    image = Image.fromarray(np.full((4, 4), value, dtype=np.uint16))
    assert colour_of(image_bytes(image, "PNG")) == [grey] * 3
    assert colour_of(image_bytes(image, "TIFF")) == [grey] * 3


def grey(*values):
    return image_bytes(Image.fromarray(np.tile(np.asarray(values), (2, 1))), "TIFF")


def test_floats_are_of_1_or_of_255():
    def levels(*values):
        return np.asarray(open_image(grey(*np.float32(values))))[0, :, 0].tolist()

    assert levels(0, 0.25, 0.5, 1) == [0, 64, 128, 255]
    assert levels(0, 1, 1.5, 254.6, 300, -3) == [0, 1, 2, 255, 255, 0]
    assert levels(np.nan, 0.5) == [0, 128]


def test_pillows_warnings_are_silent_while_an_image_is_opened_and_at_no_other_time():
    odd = image_bytes(Image.new("L", (10_000, 9_000)), "PNG")  # more than Pillow takes without a warning
    assert open_image(odd).size == (10_000, 9_000)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(odd))


def test_transparency_is_blended_onto_white():
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    for image in (clear, clear.convert("LA"), clear.quantize()):
        assert colour_of(image_bytes(image, "PNG")) == [255, 255, 255]
    assert colour_of(image_bytes(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")) == [127, 127, 127]
    assert np.asarray(open_image(image_bytes(clear, "PNG"), background=(1, 2, 3)))[0, 0].tolist() == [1, 2, 3]


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    content = image_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert colour_of(content) == pytest.approx([255, 0, 0], abs=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    upright = noise_image(12, 8)
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpose that undoes what the camera did
    stored = upright
    if orientation > 1:
        undo = Image.Transpose(turn[orientation])
        stored = upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = open_image(image_bytes(stored, "PNG", exif=exif))
    assert np.array_equal(np.asarray(shown), np.asarray(upright))


@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1)])
def test_one_pixel_wide(size):
    assert open_image(image_bytes(noise_image(*size), "PNG")).size == size


def bomb(side=40_000):
    """A PNG of a few bytes that claims 40,000 x 40,000 pixels."""
    content = bytearray(image_bytes(Image.new("1", (1, 1)), "PNG"))
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


JPEG = image_bytes(noise_image(64, 64), "JPEG")
PNG = image_bytes(noise_image(64, 64), "PNG")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, world", "not an image of a known format"),
        (JPEG[: len(JPEG) // 2], "broken image: "),
        (PNG[: len(PNG) // 2], "broken image: "),
        (JPEG[:10], "broken image: |not an image of a known format"),
        (bomb(), f"1600000000 is more than {MAX_PIXELS} pixels"),
        (bomb(12_000), f"12000 x 12000 is more than {MAX_PIXELS} pixels"),
        (
            grey(np.int32(65_536)),
            "grey values from 65536 to 65536, of 32 bits or with a sign, where 16 bits without a sign can be read",
        ),
        (grey(np.int32(-1)), "grey values from -1 to -1"),
        (b"<svg></svg>", "not an image of a known format"),
    ],
    ids=["empty", "text", "half a jpeg", "half a png", "jpeg header", "bomb", "large", "32 bits", "negative", "svg"],
)
def test_what_cannot_be_used_has_a_reason(content, reason):
    with pytest.raises(ImageError, match=reason):
        open_image(content)


def test_random_damage_never_escapes_as_another_error():
    generator = np.random.default_rng(0)
    for original in (JPEG, PNG, image_bytes(noise_image(40, 40), "TIFF"), image_bytes(noise_image(40, 40), "WEBP")):
        for _ in range(60):
            content = bytearray(original)
            for index in generator.integers(0, len(content), 8):
                content[index] = generator.integers(0, 256)
            try:
                assert open_image(bytes(content)).mode == "RGB"
            except ImageError as error:
                assert str(error)


def test_integers_of_8_or_of_16_bits_are_not_guessed():
    def opened_as_integers(*values):
        return np.asarray(upright_rgb(Image.fromarray(np.array([values], np.int32)), (255, 255, 255)))[0, :, 0].tolist()

    assert opened_as_integers(0, 65535, 32768) == [0, 255, 128]
    assert opened_as_integers(0, 0) == [0, 0]
    with pytest.raises(
        ImageError, match="from 3 to 255 of mode I, which may be of 8 bits or of 16: convert it to L or I;16"
    ):
        opened_as_integers(3, 255)


def test_premultiplied_alpha_is_undone():
    for mode, premultiplied in (("LA", "La"), ("RGBA", "RGBa")):
        image = noise_image(8, 8).convert(mode)
        image.putalpha(255)
        expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(np.asarray(upright_rgb(image.convert(premultiplied), (9, 9, 9))), expected)
