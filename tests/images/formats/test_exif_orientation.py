"""The orientation is applied exactly once, whatever else the file contains."""

import io

import numpy as np
import pytest
from image_files import chunk, exif, png, tiff
from PIL import Image

from samples import image_bytes, noise_image
from vistok.images.opening.open_image import open_image, upright_rgb

ODD = {
    "x resolution of -1/0": {0x11A: (10, [(-1, 0)])},
    "resolution unit of 5/2": {0x128: (10, [(5, 2)])},
    "y/cb position of -3": {0x213: (8, [-3])},
    "maker of no alphabet": {0x10F: (2, list(b"\xff\xfe\x80 maker\0"))},
    "sub-directory nowhere": {0x8769: (4, [4_000_000_000])},
}
QUARTERS = noise_image(4, 2).resize((64, 32), Image.Resampling.NEAREST)
SIXTH = QUARTERS.transpose(Image.Transpose.ROTATE_270)


def near(content, image):
    shown = open_image(content)
    return shown.size == image.size and np.abs(np.asarray(shown).astype(int) - np.asarray(image)).mean() < 12


@pytest.mark.parametrize("odd", sorted(ODD))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_another_tag_is_not_in_the_way(form, odd, order):
    options = {} if form == "PNG" else {"quality": 100}
    content = image_bytes(QUARTERS, form, exif=exif({0x112: (3, [6])} | ODD[odd], order), **options)
    assert near(content, SIXTH)


@pytest.mark.parametrize(
    "field", [(3, [0]), (3, [9]), (2, list(b"6\0")), (3, [6, 6]), (10, [(6, 1)]), (11, [6.0])], ids=str
)
def test_a_wrong_orientation_is_upright(field):
    for content in (
        image_bytes(QUARTERS, "JPEG", quality=100, exif=exif({0x112: field})),
        tiff(64, 32, [QUARTERS.tobytes()], 8, 2, 3, t274=field),
    ):
        assert near(content, QUARTERS)


def test_tiff_is_turned_once_beside_odd_tags():
    for form in ({}, {"t282": (2, list(b"odd\0")), "t296": (3, [3])}, {"t34665": (4, [4_000_000_000])}):
        content = tiff(64, 32, [QUARTERS.tobytes()], 8, 2, 3, t274=(3, [6]), **form)
        assert np.array_equal(np.asarray(open_image(content)), np.asarray(SIXTH))


@pytest.mark.parametrize(("value", "image"), [(1, QUARTERS), (6, SIXTH)])
def test_avif_and_heic_are_turned_once(value, image):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    for form in ("AVIF", "HEIF"):
        assert near(image_bytes(QUARTERS, form, quality=90, exif=exif({0x112: (3, [value])})), image), form


def test_exif_of_an_avif_does_not_turn_it_and_odd_tags_do_not_refuse_it():
    turned = image_bytes(QUARTERS, "AVIF", quality=90, exif=exif({0x112: (3, [6]), 0x213: (3, [1])}))
    assert near(turned.replace(b"\x13\2\3\0\1\0\0\0\1\0", b"\x13\2\x08\0\1\0\0\0\xfd\xff"), SIXTH)
    upright = image_bytes(QUARTERS, "AVIF", quality=90, exif=exif({0x112: (3, [1]), 0x213: (3, [1])}))
    assert near(upright.replace(b"\x12\1\3\0\1\0\0\0\1\0", b"\x12\1\3\0\1\0\0\0\6\0"), QUARTERS)


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def test_xmp_counts_where_exif_is_silent():
    rows = [QUARTERS.crop((0, y, 64, y + 1)).tobytes() for y in range(32)]
    text = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)
    raw = exif({0x112: (3, [6])}).hex().encode()
    hexed = chunk(b"tEXt", b"Raw profile type exif\0\nexif\n%8d\n" % (len(raw) // 2) + raw)
    upright = chunk(b"eXIf", exif({0x112: (3, [1])})[6:])
    for chunks, image in (((text,), SIXTH), ((hexed,), SIXTH), ((text, upright), QUARTERS)):
        assert np.array_equal(np.asarray(open_image(png(64, 32, 8, 2, rows, *chunks))), np.asarray(image))
    assert near(image_bytes(QUARTERS, "JPEG", quality=100, xmp=XMP), SIXTH)
    assert near(tiff(64, 32, [QUARTERS.tobytes()], 8, 2, 3, t700=(1, list(XMP))), SIXTH)


def test_an_opened_image_is_turned_as_its_owner_says():
    image = Image.open(
        io.BytesIO(image_bytes(QUARTERS, "PNG", exif=exif({0x112: (3, [6])} | ODD["y/cb position of -3"])))
    )
    assert np.array_equal(np.asarray(upright_rgb(image, (0, 0, 0))), np.asarray(SIXTH))
    image.getexif()[0x112] = 1
    assert np.array_equal(np.asarray(upright_rgb(image, (0, 0, 0))), np.asarray(QUARTERS))
