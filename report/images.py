"""Images embedded in a page, and a slider between two of them."""

import base64
import io
from html import escape

from PIL import Image

from .content import Comparison

LARGEST = 1024
"""Max pixels of an image's longer side; larger images are reduced, to keep the page small."""
SMALL = 96
"""Up to this longer side, in pixels, an image is stored without loss and shown unsmoothed."""


def comparison_html(comparison: Comparison) -> str:
    """Return two images side by side, or with a slider over them where scripts run."""
    original, label = comparison.original, escape(comparison.label)
    small = " small" if max(original.size) <= SMALL else ""
    return (
        f'<figure class="compare{small}"><div class="stage" style="--ratio:{original.width}/{original.height}">'
        f"{_side('reconstruction', comparison.reconstruction, label)}{_side('original', original, label)}"
        f'<input type="range" min="0" max="100" value="50" step="1" aria-label="Visible part of the original: {label}">'
        f"</div><figcaption>{label}</figcaption></figure>"
    )


def data_url(image: Image.Image) -> str:
    """Return an image as a `data:` URL: PNG when small, otherwise JPEG of high quality without chroma subsampling."""
    image = image.convert("RGB")
    image.thumbnail((LARGEST, LARGEST))
    buffer = io.BytesIO()
    if max(image.size) <= SMALL:
        form = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        form = "jpeg"
        image.save(buffer, "JPEG", quality=90, subsampling=0, optimize=True)
    return f"data:image/{form};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _side(name: str, image: Image.Image, label: str) -> str:
    return (
        f'<span class="{name}"><img src="{data_url(image)}" width="{image.width}" height="{image.height}" '
        f'alt="{name}: {label}"><em>{name}</em></span>'
    )
