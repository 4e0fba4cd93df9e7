"""Emu3: the grid as text, and a mark after each row."""

from functools import partial

from ...tokenizer.wording import shown
from ..vocabulary import Vocabulary
from .base import Layout
from .frame import GridFrame
from .framed import FramedLayout, check_one_codebook
from .orders import rows


def emu3(vocabulary: Vocabulary, last_row_end: bool = True) -> Layout:
    """Return the layout begin, "y*x", image, rows with row ends, end of rows, end (arXiv 2409.18869).

    `last_row_end` says whether the last row has a row end, too: so in Emu3, not so in Emu3.5. Begin and end of the document
    are not part of it.
    """
    check_one_codebook("emu3", vocabulary)
    if not isinstance(last_row_end, bool):
        raise ValueError(f"last_row_end is {shown(last_row_end)}, but must be true or false.")
    image = vocabulary["image"]
    row_end, rows_end, end = (image.structure_id(role, "emu3") for role in ("row_end", "rows_end", "end"))
    frame = GridFrame("emu3", vocabulary, (rows_end, end), separator="*")
    return FramedLayout("emu3", vocabulary, frame, partial(rows, image, row_end, last_row_end))
