"""TIFFs written byte by byte: the intended values or an error, never other values."""

import struct
import zlib

import numpy as np
import pytest
from image_files import tiff
from PIL import Image

from vistok.images.opening.open_image import ImageError, open_image

DEFLATED = {"t259": (3, [8])}


def levels(content):
    return np.asarray(open_image(content))[0].tolist()


def grey(values):
    return [[value] * 3 for value in values]


def both(width, strips, *arguments, **tags):
    """The file as it is, and with its strips compressed."""
    return (
        tiff(width, 1, strips, *arguments, **tags),
        tiff(width, 1, [zlib.compress(strip) for strip in strips], *arguments, **tags, **DEFLATED),
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_of_any_depth_means_what_its_tags_say(order, white_is_zero):
    for bits, values in ((1, [0, 1, 1]), (4, [0, 3, 15]), (8, [0, 100, 255]), (16, [0, 1000, 40_000, 65_535])):
        largest = (1 << bits) - 1
        number = 0
        for value in values:
            number = number << bits | value
        row = (number << -len(values) * bits % 8).to_bytes((len(values) * bits + 7) // 8, "big")
        if bits == 16:
            row = struct.pack(f"{order}4H", *values)
        expected = [round((largest - value if white_is_zero else value) * 255 / largest) for value in values]
        for content in both(len(values), [row], bits, 0 if white_is_zero else 1, 1, order):
            assert levels(content) == grey(expected), bits


@pytest.mark.parametrize("white_is_zero", [False, True])
def test_twelve_bits_are_not_dark(white_is_zero):
    for content in both(2, [bytes((0xFF, 0xF8, 0x00))], 12, 0 if white_is_zero else 1):
        assert levels(content) == grey([0, 127] if white_is_zero else [255, 128])
    with pytest.raises(ImageError, match=r"no decoder reads this TIFF of 12 bits \(unsigned, photometric 1\)"):
        open_image(tiff(2, 1, [bytes(3)], 12, 1, 1, ">"))


@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_have_the_order_of_the_file_compressed_or_not(order):
    row = struct.pack(f"{order}4f", 0, 0.25, 0.5, 1)
    for content in both(4, [row], 32, 1, 1, order, t339=(3, [3])):
        assert levels(content) == grey([0, 64, 128, 255])
    for content in both(4, [row], 32, 0, 1, order, t339=(3, [3])):
        assert levels(content) == grey([255, 191, 127, 0])


@pytest.mark.parametrize("values", [(0, 1.02), (0, 65_535), (-1, 1), (0, 5), (0, np.inf), (-300, 200), (0, 600)])
def test_floats_of_another_range_are_neither_black_nor_white_but_refused(values):
    with pytest.raises(ImageError, match="float grey values from .* to .*, where 0 to 1 or 0 to 255 can be read"):
        open_image(tiff(2, 1, [struct.pack("<2f", *values)], 32, 1, t339=(3, [3])))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("bits", "form"), [(8, 2), (16, 2), (32, 1), (32, 2), (64, 1), (64, 3)])
def test_signs_and_wide_integers_are_refused(order, bits, form):
    letter = {8: "b", 16: "h", 32: "I" if form == 1 else "i", 64: "d" if form == 3 else "Q"}[bits]
    for values in ((0, 1, 2), (0, 100, 127), (0, 3, 5)):
        for content in both(3, [struct.pack(f"{order}3{letter}", *values)], bits, 1, 1, order, t339=(3, [form])):
            with pytest.raises(
                ImageError, match="where 16 bits without a sign can be read|black and white are not known|no decoder"
            ):
                open_image(content)


def test_a_sample_format_that_is_undefined_is_unsigned():
    assert levels(tiff(2, 1, [b"\1\2"], t339=(3, [4]))) == grey([1, 2])


COLOURS = [(255, 0, 3), (40, 1, 200)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_8_and_16_bits_together_and_in_planes(order):
    for bits, letter in ((8, "B"), (16, "H")):
        scale = 257 if bits == 16 else 1
        together = struct.pack(f"{order}6{letter}", *(part * scale for colour in COLOURS for part in colour))
        planes = [
            struct.pack(f"{order}2{letter}", *(part * scale for part in plane)) for plane in zip(*COLOURS, strict=True)
        ]
        for content in both(2, [together], bits, 2, 3, order):
            assert levels(content) == list(map(list, COLOURS))
        raw, packed = both(2, planes, bits, 2, 3, order, t284=(3, [2]))
        assert levels(packed) == list(map(list, COLOURS))
        if bits == 8:
            assert levels(raw) == list(map(list, COLOURS))
        else:
            with pytest.raises(ImageError, match="in separate planes, which can only be read compressed"):
                open_image(raw)


def test_one_sample_has_one_plane_whatever_the_file_says():
    for bits, row in ((8, b"\0\xff"), (16, b"\0\0\xff\xff")):
        assert levels(tiff(2, 1, [row], bits, t284=(3, [2]))) == grey([0, 255])


def test_more_samples_are_alpha_or_nothing():
    pixel = bytes((100, 50, 20, 128))
    for kind, expected in ((0, (100, 50, 20)), (1, (227, 177, 147)), (2, (177, 152, 137))):
        assert levels(tiff(1, 1, [pixel], 8, 2, 4, t338=(3, [kind])))[0] == pytest.approx(expected, abs=1)
    with pytest.raises(ImageError, match="of more than 6 samples, which cannot be read"):
        open_image(tiff(1, 1, [bytes(9)], 8, 2, 9))


def test_palettes_of_8_bits_in_place_of_16_are_not_black():
    values = [list(range(256)), list(range(255, -1, -1)), [9] * 256]
    for scale in (1, 256, 257):
        palette = [value * scale for part in values for value in part]
        if scale > 1:
            assert max(palette) > 255
        for content in both(2, [b"\7\xc8"], 8, 3, t320=(3, palette)):
            assert levels(content) == [[7, 248, 9], [200, 55, 9]]


def test_subsampled_colours_are_read_compressed_alone():
    content = bytes((100, 100, 100, 100, 128, 128))
    with pytest.raises(ImageError, match="subsampled, which can only be read compressed"):
        open_image(tiff(2, 2, [content], 8, 6, 3))
    assert levels(tiff(2, 2, [zlib.compress(content)], 8, 6, 3, **DEFLATED)) == pytest.approx(
        np.full((2, 3), 100), abs=1
    )
    assert levels(tiff(1, 1, [bytes((100, 128, 128))], 8, 6, 3, t530=(3, [1, 1])))[0] == pytest.approx(
        (100,) * 3, abs=1
    )


def test_missing_strips_are_a_fault_and_repeated_ones_are_read_once():
    with pytest.raises(ImageError, match="broken image: strips are missing"):
        open_image(tiff(2, 4, [b"\1\2", b"\3\4"], t278=(3, [1])))
    with pytest.raises(ImageError, match="broken image: tag 273 has 200000 values"):
        open_image(tiff(2, 2, [b"\1\2\3\4"], t278=(3, [1]), t273=(4, [8] * 200_000)))
    assert levels(tiff(2, 3, [bytes(range(6))], t278=(3, [2]), t273=(4, [8, 12] * 10_000))) == grey([0, 1])


def test_directories_that_are_none():
    for content in (b"II*\0\x08\0\0\0", b"II*\0\x08\0\0\0\0\0\0\0\0\0", b"MM\0*\xff\xff\xff\xff"):
        with pytest.raises(ImageError, match="broken image: the file has no directory"):
            open_image(content)
    with pytest.raises(ImageError, match="a BigTIFF with the most significant byte first, which cannot be read"):
        fields = struct.pack(">QHHQQ", 1, 256, 4, 1, 9)
        open_image(b"MM\0+\0\x08\0\0" + (16).to_bytes(8, "big") + fields)


def test_other_pages_and_tags_do_not_matter():
    content = bytearray(tiff(2, 1, [b"\1\2"], t60000=(2, list(b"own\0")), t282=(2, list(b"odd\0")), t296=(3, [3])))
    assert levels(bytes(content)) == grey([1, 2])


def test_uncompressed_ycbcr_is_converted_by_every_pillow():
    """Pillow below 13 opens it as RGB."""
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    expected = np.asarray(Image.frombytes("YCbCr", (5, 4), values.tobytes()).convert("RGB"))[0]  # the first row
    assert np.array_equal(levels(tiff(5, 4, [values.tobytes()], 8, 6, 3, t530=(3, [1, 1]))), expected)
