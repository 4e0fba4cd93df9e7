"""Images within a page."""

import base64
import io

from PIL import Image

LARGEST = 1024
"""Max pixels of an image's longer side; larger images are reduced, to keep the page small."""
SMALL = 96
"""Up to this longer side, in pixels, an image is stored without loss and shown unsmoothed."""


def data_url(image: Image.Image) -> str:
    """Return an image as a `data:` URL: PNG when small, otherwise JPEG of high quality without chroma subsampling."""
    image = image.convert("RGB")
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    if max(image.size) <= SMALL:
        form = "png"
        image.save(buffer, form, optimize=True)
    else:  # not optimised: of noise, such a JPEG is larger than Pillow's buffer, of which libjpeg complains on stderr
        form = "jpeg"
        image.save(buffer, form, quality=90, subsampling=0)
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode()}"
