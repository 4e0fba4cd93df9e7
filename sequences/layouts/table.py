"""The table of layouts. To add one: a file, and a line here."""

from collections.abc import Callable
from typing import Any

from ...tokenizer.wording import unknown_choice
from ..vocabulary import Vocabulary
from .base import Layout
from .raster import raster

LAYOUTS: dict[str, Callable[..., Layout]] = {
    "raster": raster,
}


def build_layout(name: str, vocabulary: Vocabulary, **options: Any) -> Layout:
    """Build a layout by its name; raise ValueError for an unknown one, and for options that it does not take."""
    if name not in LAYOUTS:
        raise ValueError(unknown_choice("layout", f"name {name!r}", name, list(LAYOUTS)))
    return LAYOUTS[name](vocabulary, **options)
