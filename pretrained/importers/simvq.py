"""SimVQ (arXiv 2411.02038): a linear layer over a frozen codebook, in the network of Open-MAGVIT2."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Shapes
from .blocks_without_attention import MIDDLE, MagvitImporter
from .code_choice import PROJECTION, NearestProjectedCode


class SimVQ(MagvitImporter):
    """The nearest projected code; the frozen table has no average, so it comes from the live weights."""

    title = "SimVQ"
    source = "https://github.com/youngsheen/SimVQ"
    licence = "MIT"
    notes = (
        *MagvitImporter.notes,
        "The codes are projected once, at import. The original's get_codebook_entry forgets to project them; vistok decodes "
        "what its training decodes.",
    )
    choice = NearestProjectedCode()
    preprocessing = PreprocessingConfig(size=128, resampling="linear", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        return MIDDLE in shapes and PROJECTION in shapes
