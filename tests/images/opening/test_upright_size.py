"""The size that headers promise is that of the image once it is decoded."""

import io

import pytest
from image_files import exif
from PIL import Image, features

from samples import image_bytes, noise_image
from vistok.images.opening.open_image import ImageError, open_image, upright_size

FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", *(["AVIF"] if features.check("avif") else [])]


def both(content):
    size = upright_size(io.BytesIO(content))
    assert size == open_image(content).size
    return size


@pytest.mark.parametrize("form", FORMATS)
def test_of_each_format(form):
    assert both(image_bytes(noise_image(37, 21), form)) == (37, 21)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_of_turned_images(form, orientation):
    options = {"exif": exif({274: (3, [orientation])})}
    if form == "TIFF":
        tags = Image.Exif()
        tags[274] = orientation
        options = {"exif": tags}
    assert both(image_bytes(noise_image(37, 21), form, **options)) == ((37, 21) if orientation == 3 else (21, 37))


def test_pixels_are_not_needed():
    content = image_bytes(noise_image(300, 200), "JPEG", quality=95)
    assert upright_size(io.BytesIO(content[:2000])) == (300, 200)


@pytest.mark.parametrize("content", [b"", b"no image at all", image_bytes(noise_image(9, 9), "PNG")[:20]])
def test_what_is_no_image_is_an_image_error(content):
    with pytest.raises(ImageError):
        upright_size(io.BytesIO(content))
