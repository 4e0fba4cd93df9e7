"""BMPs written byte by byte: colours follow the masks."""

import struct

import numpy as np
import pytest

from samples import noise_image
from vistok.images.opening.open_image import ImageError, open_image

LEVELS = np.asarray(noise_image(5, 3)).astype(np.int64)
MASKS = {
    "RGBX": (32, (0xFF, 0xFF00, 0xFF0000, 0)),
    "XRGB": (32, (0xFF0000, 0xFF00, 0xFF, 0)),
    "ARGB": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0)),
    "10 bits and alpha": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "555": (16, (0x7C00, 0x3E0, 0x1F, 0)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "444": (16, (0xF00, 0xF0, 0xF, 0)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
}


def bmp(pixels, bits, masks, header=124, compression=3):
    """Return a BMP of integers `h w`, top row first; the masks follow a header of 40 bytes."""
    height, width = pixels.shape
    rows = b"".join(row.astype(f"<u{bits // 8}").tobytes() + bytes(-width * bits // 8 % 4) for row in pixels)
    head = struct.pack("<IiiHHIIiiII", header, width, -height, 1, bits, compression, 0, 0, 0, 0, 0)
    head += struct.pack("<4I", *masks)[: 12 if header == 40 and compression == 3 else 16]
    head = head.ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows


def packed(mask, levels):
    """Return levels of 0 to 255 as the bits of a mask, and the levels after that rounding."""
    if not mask:
        return levels * 0, levels * 0 + 255
    step = mask & -mask
    values = levels * (mask // step) // 255
    return values * step, values * 255 / (mask // step)


@pytest.mark.parametrize(("header", "compression"), [(124, 3), (108, 3), (56, 3), (40, 3), (40, 6)])
@pytest.mark.parametrize("name", MASKS)
def test_colours_are_where_the_masks_say(name, header, compression):
    bits, masks = MASKS[name]
    if masks[3] and (header, compression) == (40, 3):
        masks = (*masks[:3], 0)  # such a header has none for alpha
    alpha = np.linspace(0, 255, 15).round().astype(int).reshape(3, 5)
    parts = [packed(mask, levels) for mask, levels in zip(masks, [*np.moveaxis(LEVELS, 2, 0), alpha], strict=True)]
    content = bmp(sum(bits for bits, _ in parts), bits, masks, header, compression)
    colours, opacity = np.stack([levels for _, levels in parts[:3]], axis=2), parts[3][1][..., None] / 255
    if name == "1555" and masks[3]:
        assert set(opacity.flatten()) == {0, 1}
    expected = colours * opacity + np.array((9, 99, 199)) * (1 - opacity)
    assert np.abs(np.asarray(open_image(content, background=(9, 99, 199))) - expected).max() <= 1.1


def test_an_alpha_that_was_left_at_zero_is_opaque():
    for name, tolerance in (("ARGB", 0), ("4444", 16)):
        bits, masks = MASKS[name]
        parts = [packed(mask, LEVELS[..., channel])[0] for channel, mask in enumerate(masks[:3])]
        assert np.abs(np.asarray(open_image(bmp(sum(parts), bits, masks))) - LEVELS).max() <= tolerance


@pytest.mark.parametrize("masks", [(0, 0, 0, 0xF000), (0xF0F, 0xF0, 0, 0), (0xF0000, 0xF0, 0xF, 0)])
def test_masks_that_are_none_are_a_fault(masks):
    with pytest.raises(ImageError, match="broken image: masks 0x[0-9a-f]+, .* of 16 bits"):
        open_image(bmp(LEVELS[..., 0], 16, masks))
