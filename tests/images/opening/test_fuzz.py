"""Damaged files of every format are an ImageError, soon."""

import time

import numpy as np
import pytest
from image_files import ADOBE_RGB, exif, gamma_curve, rgb_profile
from PIL import Image

from samples import image_bytes, noise_image
from vistok.images.opening.open_image import ImageError, open_image

IMAGE = noise_image(48, 40)
DEEP = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (40, 48), dtype=np.uint16))
FACTS = {
    "exif": exif({0x112: (3, [6]), 0x10F: (2, list(b"maker\0"))}),
    "icc_profile": rgb_profile(ADOBE_RGB, gamma_curve(2.2)),
}
SEVERAL = {"save_all": True, "append_images": [IMAGE.rotate(180)]}
FILES = {
    "JPEG": image_bytes(IMAGE, "JPEG", **FACTS),
    "progressive": image_bytes(IMAGE, "JPEG", progressive=True),
    "CMYK": image_bytes(IMAGE.convert("CMYK"), "JPEG"),
    "MPO": image_bytes(IMAGE, "MPO", **SEVERAL),
    "PNG": image_bytes(IMAGE, "PNG", **FACTS),
    "palette": image_bytes(IMAGE.quantize(20), "PNG", transparency=3),
    "deep": image_bytes(DEEP, "PNG"),
    "WebP": image_bytes(IMAGE, "WEBP", **FACTS),
    "lossless": image_bytes(IMAGE.convert("RGBA"), "WEBP", lossless=True),
    "film": image_bytes(IMAGE, "WEBP", **SEVERAL),
    "GIF": image_bytes(IMAGE.quantize(), "GIF"),
    "BMP": image_bytes(IMAGE, "BMP"),
    "TIFF": image_bytes(IMAGE, "TIFF", icc_profile=FACTS["icc_profile"]),
    "LZW": image_bytes(IMAGE, "TIFF", compression="tiff_lzw"),
    "deflate": image_bytes(DEEP, "TIFF", compression="tiff_adobe_deflate"),
    "fax": image_bytes(IMAGE.convert("1"), "TIFF", compression="group4"),
    "JPEG in TIFF": image_bytes(IMAGE, "TIFF", compression="jpeg"),
    "AVIF": image_bytes(IMAGE, "AVIF", speed=10, **FACTS),
}


def damages(content, generator):
    for _ in range(12):
        some = bytearray(content)
        for index in generator.integers(0, len(content), 8):
            some[index] = generator.integers(0, 256)
        yield some
        head = bytearray(content)
        for index in generator.integers(0, min(len(content), 400), 4):
            head[index] = generator.choice([0, 1, 127, 128, 255])
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
    for index, content in enumerate(damages(FILES[name], generator)):
        start = time.process_time()
        try:
            assert open_image(bytes(content)).mode == "RGB"
        except ImageError as error:
            assert str(error) and "\n" not in str(error)
        assert time.process_time() - start < 1, (name, index)
    assert capfd.readouterr() == ("", "")
