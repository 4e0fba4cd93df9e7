"""Documented formats are opened, and no others."""

import errno
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from samples import image_bytes, noise_image
from vistok.images.formats import inspect_file as formats
from vistok.images.opening.open_image import ImageError, open_image

IMAGE = noise_image(24, 16)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"
UNKNOWN = "not an image of a known format (JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC)"


@pytest.mark.parametrize("form", ["PPM", "TGA", "ICO", "ICNS", "PCX", "SGI", "EPS", "DDS", "DIB", "JPEG2000", "QOI"])
def test_other_formats_are_not_opened(form):
    with pytest.raises(ImageError) as caught:
        open_image(image_bytes(IMAGE, form))
    assert str(caught.value) == UNKNOWN


def test_phones_jpegs_of_several_images_show_the_first():
    content = image_bytes(IMAGE, "MPO", save_all=True, append_images=[IMAGE.rotate(180)])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    first = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(np.asarray(open_image(content)), first)
    for damaged in (content.replace(b"0100", b"\xff\xff\xff\xff"), content.replace(b"MPF\0II", b"MPF\0XX")):
        assert np.array_equal(np.asarray(open_image(damaged)), first)


def test_avif_keeps_the_colour_and_its_alpha():
    red = Image.new("RGBA", (16, 16), (250, 10, 10, 128))
    assert open_image(image_bytes(red, "AVIF"), background=(10, 10, 250)).getpixel((8, 8)) == pytest.approx(
        (130, 10, 130), abs=5
    )


def test_heic_is_read_with_the_extra_and_named_without(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    content = image_bytes(Image.new("RGB", (64, 64), (250, 10, 10)), "HEIF")
    assert open_image(content).getpixel((9, 9)) == pytest.approx((250, 10, 10), abs=5)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(
        ImageError,
        match=r"HEIC, which needs pillow-heif: pip install '.\[heif\]' in vistok's checkout, then --retry-failures",
    ):
        open_image(content)


def test_a_long_file_is_not_read_whole(monkeypatch):
    monkeypatch.setattr(formats, "MAX_IN_MEMORY", 100)
    with pytest.raises(ImageError, match="the file has [0-9]+ bytes, where 100 of this format can be read"):
        open_image(image_bytes(IMAGE, "WEBP", lossless=True))


class Counted(io.BytesIO):
    """A file that counts what is read, and fails at one of the reads."""

    def __init__(self, content, fails_at=0, error=None):
        super().__init__(content)
        self.reads, self.bytes, self.fails_at, self.error = 0, 0, fails_at, error

    def read(self, size=-1):
        self.reads += 1
        if self.reads == self.fails_at:
            raise self.error
        content = super().read(size)
        self.bytes += len(content)
        return content


FORMS = {
    "JPEG": {},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "TIFF": {},
    "TIFF deflated": {"compression": "tiff_adobe_deflate"},
    "TIFF JPEG": {"compression": "jpeg"},
    "BMP": {},
    "AVIF": {},
    "HEIF": {},
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_errors_of_reading_are_not_errors_of_the_image(form):
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    content = image_bytes(IMAGE.quantize() if form == "GIF" else IMAGE, form.split()[0], **FORMS[form])
    expected = np.asarray(open_image(content))
    whole = Counted(content)
    assert np.array_equal(np.asarray(open_image(whole)), expected)
    for number in range(1, whole.reads + 1):
        for error in (OSError(errno.ESTALE, "stale", "photos"), MemoryError("none left")):
            with pytest.raises(type(error)) as caught:
                open_image(Counted(content, number, error))
            assert caught.value is error


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF"])
def test_data_after_the_image_is_not_read(form):
    content = image_bytes(noise_image(64, 64).quantize() if form == "GIF" else noise_image(64, 64), form)
    file = Counted(content + bytes(1 << 20))
    assert open_image(file).size == (64, 64)
    assert file.bytes < 3 * len(content) + (1 << 17)


def test_nothing_reaches_the_console_and_no_program_is_started(tmp_path):
    """C libraries write to the descriptor itself: a new process shows it."""
    for name in ("gs", "gswin32c"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
        (tmp_path / name).chmod(0o755)
    broken = image_bytes(noise_image(32, 32), "TIFF", compression="tiff_adobe_deflate")
    (tmp_path / "a.tif").write_bytes(broken[:60] + b"broken, broken, broken" + broken[82:])
    (tmp_path / "b.jpg").write_bytes(image_bytes(noise_image(64, 64), "JPEG")[:-300] + bytes(290))
    (tmp_path / "c.jpg").write_bytes(POSTSCRIPT)
    script = (
        "import sys; from pathlib import Path; from vistok.images.opening.open_image import open_image\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.*')):\n"
        "    try: open_image(path.read_bytes())\n"
        "    except ValueError as error: print(error)"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-W", "default", "-c", script, tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.startswith("broken image: ") and said.stdout.endswith(UNKNOWN + "\n") and said.stderr == ""
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(("width", "height"), [(16_383, 8193), (16_383, 9000)])
def test_a_webp_is_measured_before_its_decoder_makes_the_canvas(monkeypatch, width, height):
    content = bytearray(image_bytes(IMAGE, "WEBP", save_all=True, append_images=[IMAGE.rotate(90)]))
    index = content.index(b"VP8X") + 12
    content[index : index + 6] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match=f"{width} x {height} is more than 134217728 pixels"):
        open_image(bytes(content))
