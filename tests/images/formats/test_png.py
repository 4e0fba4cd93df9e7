import io
import zlib

import numpy as np
import pytest
from image_files import chunk, png
from PIL import Image

from samples import image_bytes, noise_image
from vistok.images.opening.open_image import ImageError, open_image

LEVELS = np.asarray(noise_image(6, 4))
ROWS = [row.tobytes() for row in LEVELS]

NAMES = [
    "tEXt",
    "zTXt",
    "iTXt",
    "tIME",
    "pHYs",
    "iCCP",
    "eXIf",
    "gAMA",
    "cHRM",
    "sRGB",
    "sBIT",
    "bKGD",
    "hIST",
    "acTL",
    "prVt",
]


def shown(content, background=(255, 255, 255)):
    return np.asarray(open_image(content, background))


@pytest.mark.parametrize("name", NAMES)
def test_chunks_around_the_pixels_never_refuse_them(name):
    for content in (b"", b"\0", b"\0\0\0\0\0\0\0\0", b"words\0words", bytes(40)):
        for wrong in (False, True):
            assert np.array_equal(shown(png(6, 4, 8, 2, ROWS, chunk(name.encode(), content, wrong))), LEVELS)


def test_any_length_of_text_or_profile_is_passed_over():
    long = b'{"node": 1}' * 100_000
    for text in (
        chunk(b"tEXt", b"workflow\0" + long),
        chunk(b"iTXt", b"workflow\0\0\0\0\0" + long),
        chunk(b"zTXt", b"workflow\0\0" + zlib.compress(long)),
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(long)),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(5 << 20))),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"0" * (5 << 20))),
    ):
        assert np.array_equal(shown(png(6, 4, 8, 2, ROWS, text)), LEVELS)
        assert np.array_equal(shown(png(6, 4, 8, 2, ROWS, text * 5)), LEVELS)


@pytest.mark.parametrize("name", ["IHDR", "IDAT"])
def test_a_wrong_checksum_of_the_pixels_is_a_fault(name):
    with pytest.raises(ImageError, match=f"broken image: wrong checksum in {name}"):
        open_image(png(6, 4, 8, 2, ROWS, wrong=name))


def test_no_end_and_no_header():
    assert np.array_equal(shown(png(6, 4, 8, 2, ROWS)[:-12]), LEVELS)
    with pytest.raises(ImageError, match="broken image: the file has no header"):
        open_image(b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""))
    with pytest.raises(ImageError, match="PNG of more than 262144 chunks"):
        open_image(png(6, 4, 8, 2, ROWS, chunk(b"tIME", b"") * 300_000))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_transparent_at_any_depth(bits):
    largest = (1 << bits) - 1
    for key in {0, 1, largest // 2, largest}:
        values = [key, largest - key, key]
        number = 0
        for value in values:
            number = number << bits | value
        row = (number << -3 * bits % 8).to_bytes((3 * bits + 7) // 8, "big")
        content = png(3, 1, bits, 0, [row], chunk(b"tRNS", key.to_bytes(2, "big")))
        scaled = [round(value * 255 / largest) for value in values]
        expected = [[9, 8, 7] if value == key else [level] * 3 for value, level in zip(values, scaled, strict=True)]
        assert shown(content, (9, 8, 7))[0].tolist() == expected


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_is_compared_in_all_its_bits(bits):
    high = 1 << (bits - 8)
    colours = [(3 * high, 7, 9 * high), (3 * high, 7, 9 * high + high // 2 + 1), (3 * high, 7, 9 * high)]
    row = b"".join(part.to_bytes(bits // 8, "big") for colour in colours for part in colour)
    key = b"".join(part.to_bytes(2, "big") for part in colours[0])
    upper = [[part >> (bits - 8) for part in colour] for colour in colours]
    got = shown(png(3, 1, bits, 2, [row], chunk(b"tRNS", key)), (90, 80, 70))[0].tolist()
    assert got == [[90, 80, 70], upper[1], [90, 80, 70]]
    damaged = shown(png(3, 1, bits, 2, [row], chunk(b"tRNS", key, True)), (90, 80, 70))[0].tolist()
    assert damaged == upper


def test_a_palette_may_have_alpha_for_more_colours_than_it_has():
    palette, alpha = chunk(b"PLTE", bytes((1, 2, 3, 4, 5, 6))), chunk(b"tRNS", b"\xff\0" + bytes(100))
    assert shown(png(2, 1, 8, 3, [b"\0\1"], palette, alpha), (9, 8, 7))[0].tolist() == [[1, 2, 3], [9, 8, 7]]


@pytest.mark.parametrize("default_image", [False, True])
def test_the_first_image_of_an_animation(default_image):
    frames = [Image.new("RGBA", (4, 4), colour) for colour in ("red", "blue")]
    content = image_bytes(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=default_image)
    first = Image.open(io.BytesIO(content))
    assert np.array_equal(shown(content), np.asarray(first.convert("RGB"))) and shown(content)[0, 0].tolist() == [
        255,
        0,
        0,
    ]


def test_pixels_that_end_early_are_a_fault_and_black_rows_are_none():
    for bits, colour, rows in ((8, 2, ROWS), (8, 0, [b"\7" * 6] * 4), (1, 0, [b"\xff"] * 4), (16, 6, [b"\7" * 48] * 4)):
        for kept in (1, 3):
            with pytest.raises(ImageError, match="broken image: rows are missing"):
                open_image(png(6, 4, bits, colour, rows[:kept]))
            black = rows[:kept] + [bytes(len(rows[0]))] * (4 - kept)
            assert shown(png(6, 4, bits, colour, black), (0, 0, 0))[kept:].max() == 0


@pytest.mark.parametrize("height", [1, 2, 3, 8, 9])
def test_an_interlaced_image_that_ends_early_is_a_fault(height):
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    levels = np.arange(1, 9 * height + 1, dtype=np.uint8).reshape(height, 9)
    rows = [row.tobytes() for x, y, dx, dy in steps for row in levels[y::dy, x::dx] if row.size]
    for kept in range(len(rows) + 1):
        content = bytearray(png(9, height, 8, 0, rows[:kept]))
        content[28:33] = b"\1" + zlib.crc32(content[12:28] + b"\1").to_bytes(4, "big")
        if kept == len(rows):
            assert np.array_equal(shown(bytes(content))[..., 0], levels)
            continue
        with pytest.raises(ImageError, match="broken image: (rows are missing|image file is truncated)"):
            open_image(bytes(content))
