"""Damage of every kind to small files of every format is a reason in words, soon."""

import time

import numpy as np
import pytest
from image_files import ADOBE_RGB, exif, gamma_curve, rgb_profile
from PIL import Image

from samples import noise_image, picture_bytes
from vistok.images.opening.upright_rgb import PictureError, open_picture

IMAGE = noise_image(48, 40)
DEEP = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 48), dtype=np.uint16))
FACTS = {
    "exif": exif({0x112: (3, [6]), 0x10F: (2, list(b"maker\0"))}),
    "icc_profile": rgb_profile(ADOBE_RGB, gamma_curve(2.2)),
}
SEVERAL = {"save_all": True, "append_images": [IMAGE.rotate(180)]}
FILES = {
    "JPEG": picture_bytes(IMAGE, "JPEG", **FACTS),
    "progressive": picture_bytes(IMAGE, "JPEG", progressive=True),
    "CMYK": picture_bytes(IMAGE.convert("CMYK"), "JPEG"),
    "MPO": picture_bytes(IMAGE, "MPO", **SEVERAL),
    "PNG": picture_bytes(IMAGE, "PNG", **FACTS),
    "palette": picture_bytes(IMAGE.quantize(20), "PNG", transparency=3),
    "deep": picture_bytes(DEEP, "PNG"),
    "WebP": picture_bytes(IMAGE, "WEBP", **FACTS),
    "lossless": picture_bytes(IMAGE.convert("RGBA"), "WEBP", lossless=True),
    "film": picture_bytes(IMAGE, "WEBP", **SEVERAL),
    "GIF": picture_bytes(IMAGE.quantize(), "GIF"),
    "BMP": picture_bytes(IMAGE, "BMP"),
    "TIFF": picture_bytes(IMAGE, "TIFF", icc_profile=FACTS["icc_profile"]),
    "LZW": picture_bytes(IMAGE, "TIFF", compression="tiff_lzw"),
    "deflate": picture_bytes(DEEP, "TIFF", compression="tiff_adobe_deflate"),
    "fax": picture_bytes(IMAGE.convert("1"), "TIFF", compression="group4"),
    "JPEG in TIFF": picture_bytes(IMAGE, "TIFF", compression="jpeg"),
    "AVIF": picture_bytes(IMAGE, "AVIF", speed=10, **FACTS),
}


def damages(content, generator):
    for _ in range(12):
        some = bytearray(content)
        for place in generator.integers(0, len(content), 8):
            some[place] = generator.integers(0, 256)
        yield some
        head = bytearray(content)
        for place in generator.integers(0, min(len(content), 400), 4):
            head[place] = generator.choice([0, 1, 127, 128, 255])
        yield head
        yield content[: generator.integers(0, len(content))]
        start, stop = sorted(generator.integers(0, len(content), 2))
        yield content[:start] + content[stop:]
        large = bytearray(content)
        start = generator.integers(0, len(content) - 4)
        large[start : start + 4] = b"\xff\xff\xff\xff" if generator.random() < 0.5 else b"\x7f\xff\xff\xff"
        yield large


@pytest.mark.parametrize("name", sorted(FILES))
def test_damage_is_a_reason_and_takes_no_time(name, capfd):
    generator = np.random.default_rng(len(name))
    for number, content in enumerate(damages(FILES[name], generator)):
        start = time.process_time()
        try:
            assert open_picture(bytes(content)).mode == "RGB"
        except PictureError as error:
            assert str(error) and "\n" not in str(error)
        assert time.process_time() - start < 1, (name, number)
    assert capfd.readouterr() == ("", "")
