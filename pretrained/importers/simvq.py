"""SimVQ (arXiv 2411.02038): a linear layer over a frozen codebook, in the network of Open-MAGVIT2."""

import re

from .code_choice import CODEBOOK, PROJECTION, NearestProjectedCode
from .open_magvit2 import MIDDLE, OPEN_MAGVIT2, SQUARE_OF_128, TRANSLATION

SIMVQ = OPEN_MAGVIT2._replace(
    title="SimVQ",
    source="https://github.com/youngsheen/SimVQ",
    licence="MIT",
    recognises=lambda shapes: MIDDLE in shapes and PROJECTION in shapes,
    translation=TRANSLATION._replace(choice=NearestProjectedCode(), preprocessing=SQUARE_OF_128),
    frozen=re.escape(CODEBOOK),
    notes=(
        *OPEN_MAGVIT2.notes,
        "The codes are projected once, at import. The original's get_codebook_entry forgets to project them; vistok decodes "
        "what its training decodes.",
    ),
)
"""The nearest projected code; the frozen table has no average, so it comes from the live weights."""
