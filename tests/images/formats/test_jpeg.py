import time

import numpy as np
import pytest
from PIL import Image

from samples import image_bytes, noise_image
from vistok.images.opening import open_image as opening
from vistok.images.opening.open_image import ImageError, open_image
from vistok.images.preprocessing import load_pixels, preprocess
from vistok.tokenizer.preprocessing import PreprocessingConfig

PROGRESSIVE = image_bytes(noise_image(64, 48), "JPEG", progressive=True)
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]


def with_scans(count, between=b""):
    return PROGRESSIVE[:-2] + (between + LAST_SCAN) * count + b"\xff\xd9"


@pytest.mark.parametrize("between", [b"", b"\xff\xfe\0\4\xff\xd9", b"\xff\xfe\0\x06\xff\xda\xff\xda"])
def test_thousands_of_scans_are_refused_before_they_are_decoded(between):
    start = time.process_time()
    with pytest.raises(ImageError, match="JPEG of more than 500 scans, which would take minutes to decode"):
        open_image(with_scans(5000, between))
    assert time.process_time() - start < 1


def test_a_sensible_number_of_scans_is_read():
    # The last scan refines one bit: once more, and the decoder has it already.
    assert open_image(with_scans(100)).size == (64, 48)
    trailer = PROGRESSIVE + b"\xff\xda" * 5000  # after the end, where phones append a film
    assert np.array_equal(np.asarray(open_image(trailer)), np.asarray(open_image(PROGRESSIVE)))
    thumbnail = b"\xff\xe1\x27\x14" + b"\xff\xda" * 5001
    assert np.array_equal(
        np.asarray(open_image(PROGRESSIVE[:2] + thumbnail + PROGRESSIVE[2:])), np.asarray(open_image(PROGRESSIVE))
    )


def test_the_larger_the_image_the_fewer_its_scans(monkeypatch):
    monkeypatch.setattr("vistok.images.formats.jpeg.MAX_PIXEL_SCANS", 64 * 48 * 30)
    assert open_image(with_scans(15)).size == (64, 48)
    with pytest.raises(ImageError, match="JPEG of more than 30 scans"):
        open_image(with_scans(30))


@pytest.mark.parametrize("content", [b"\0" * 5_000_000, b"\xff" * 5_000_000, b"\xff\xd9", b"\xff\xe0\0"])
def test_junk_in_place_of_segments_ends_soon(content):
    start = time.process_time()
    with pytest.raises(ImageError, match="broken image: the file ends before its pixels begin"):
        open_image(b"\xff\xd8\xff" + content)
    with pytest.raises(ImageError, match="JPEG of more than 65536 segments before its pixels"):
        open_image(b"\xff\xd8" + b"\xff\xfe\0\2" * 70_000)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("progressive", [False, True])
def test_segments_of_other_programs_are_left_out_and_adobes_kept(progressive):
    for mode in ("L", "RGB", "CMYK"):
        content = image_bytes(noise_image(64, 48).convert(mode), "JPEG", progressive=progressive)
        more = b"".join(bytes((0xFF, marker, 0, 9)) + b"program" for marker in (*range(0xE1, 0xEE), 0xEF, 0xFE))
        assert np.array_equal(np.asarray(open_image(content[:2] + more + content[2:])), np.asarray(open_image(content)))


def smooth(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_very_large_jpeg_is_decoded_smaller_as_far_as_twice_the_size_is_kept(monkeypatch, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    content = image_bytes(smooth(640, 480), "JPEG", quality=95, exif=exif)
    config = PreprocessingConfig(size=50)
    exact = load_pixels(content, config, 8)
    assert np.array_equal(exact.pixels, preprocess(open_image(content), config, 8))
    decoded = []
    keep = opening.to_rgb
    monkeypatch.setattr(opening, "to_rgb", lambda image, *rest: decoded.append(image.size) or keep(image, *rest))
    monkeypatch.setattr(opening, "DRAFT_ABOVE", 640 * 480 - 1)
    small = load_pixels(content, config, 8)
    assert sorted(decoded[0]) == [120, 160]  # a quarter: an eighth would be 60, less than twice 50
    assert small[1:] == exact[1:] == ((640, 480) if orientation == 1 else (480, 640))
    assert np.abs(small.pixels.astype(int) - exact.pixels).mean() < 2
    assert load_pixels(content, PreprocessingConfig(size="native"), 8).pixels.shape[0] in (480, 640)
    monkeypatch.setattr(opening, "DRAFT_ABOVE", 640 * 480)
    assert np.array_equal(load_pixels(content, config, 8).pixels, exact.pixels)


@pytest.mark.parametrize(
    "values",
    [
        {"size": "area:50"},
        {"size": "area:50-60"},
        {"size": 50, "halve_first": True},
        {"size": 50, "resize_ratio": 1.125},
        {"size": 50, "resampling": "linear"},
        {"size": 50, "crop": "none"},
        {"size": 50, "blending": "truncated"},
    ],
)
def test_a_very_large_jpeg_is_decoded_whole_where_others_published_how_it_is_resized(monkeypatch, values):
    content = image_bytes(smooth(640, 480), "JPEG", quality=95)
    config = PreprocessingConfig(**values)
    expected = preprocess(open_image(content), config, 8)
    monkeypatch.setattr(opening, "DRAFT_ABOVE", 1)
    assert np.array_equal(load_pixels(content, config, 8).pixels, expected)
