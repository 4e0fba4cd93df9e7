"""GIFs written byte by byte: the canvas around the first frame is transparent, as in a browser."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from vistok.images.opening.open_image import open_image

PALETTE = bytes((10, 20, 30, 200, 40, 50, 60, 220, 70, 80, 90, 240))
COLOURS = np.frombuffer(PALETTE, np.uint8).reshape(4, 3)
INDICES = np.array([[1, 2, 3], [3, 1, 2]])


def packed(indices):
    """Return the indices as LZW, with a clear code before each so that all codes have 3 bits."""
    codes = [code for index in indices.flatten().tolist() for code in (4, index)] + [5]
    bits = "".join(f"{code:03b}"[::-1] for code in codes)
    content = bytes(int(bits[at : at + 8].ljust(8, "0")[::-1], 2) for at in range(0, len(bits), 8))
    return bytes((2, len(content))) + content + b"\0"


def gif(width, height, left, top, palette="global", clear=None):
    """Return a GIF whose only frame is INDICES, somewhere on a larger canvas."""
    shared, own = (PALETTE if palette == where else b"" for where in ("global", "own"))
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x81 if shared else 0, 2, 0) + shared
    control = b"" if clear is None else b"!\xf9\4" + struct.pack("<BHB", 1, 0, clear) + b"\0"
    frame = b"," + struct.pack("<HHHHB", left, top, 3, 2, 0x81 if own else 0) + own
    return head + control + frame + packed(INDICES) + b";"


@pytest.mark.parametrize("palette", ["global", "own"])
@pytest.mark.parametrize("clear", [None, 2])
def test_around_the_first_frame_is_background(palette, clear):
    content = gif(6, 5, 2, 1, palette, clear)
    assert Image.open(io.BytesIO(content)).size == (6, 5)
    expected = np.full((5, 6, 3), (9, 99, 199), np.uint8)
    expected[1:3, 2:5] = COLOURS[INDICES]
    if clear is not None:
        expected[1:3, 2:5][INDICES == clear] = (9, 99, 199)
    assert np.array_equal(np.asarray(open_image(content, background=(9, 99, 199))), expected)


def test_a_frame_of_the_whole_canvas_covers_it():
    assert np.array_equal(np.asarray(open_image(gif(3, 2, 0, 0))), COLOURS[INDICES])
