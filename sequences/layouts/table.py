"""The table of layouts. To add one: a file, and a line here."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from ...tokenizer.wording import unknown_choice
from ..vocabulary import Vocabulary
from .base import Layout
from .chameleon import chameleon
from .digits import digits
from .emu3 import emu3
from .glm import glm
from .lumina import lumina
from .raster import raster
from .scales import scales
from .several import delayed, flattened, interleaved

LAYOUTS: dict[str, Callable[..., Layout]] = {
    "raster": raster,
    "emu3": emu3,
    "chameleon": chameleon,
    "lumina": lumina,
    "glm": glm,
    "interleaved": interleaved,
    "flattened": flattened,
    "delayed": delayed,
    "scales": scales,
    "digits": digits,
}


def build_layout(name: str, vocabulary: Vocabulary, **options: Any) -> Layout:
    """Build a layout by its name; raise ValueError for an unknown one, and for options that it does not take."""
    if name not in LAYOUTS:
        raise ValueError(unknown_choice("layout", f"name {name!r}", name, list(LAYOUTS)))
    known = list(signature(LAYOUTS[name]).parameters)[1:]
    for option in options:
        if not known:
            raise ValueError(f"The layout {name} has no options, but got {option!r}: leave it out.")
        if option not in known:
            raise ValueError(unknown_choice(f"option of the layout {name}", repr(option), option, known))
    try:
        signature(LAYOUTS[name]).bind(vocabulary, **options)
    except TypeError as error:
        raise ValueError(f"The layout {name} cannot be built: {error}.") from None
    return LAYOUTS[name](vocabulary, **options)
