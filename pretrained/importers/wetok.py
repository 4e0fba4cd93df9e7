"""WeTok (arXiv 2508.05599): group-wise lookup-free quantization, in the network of Open-MAGVIT2."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Shapes
from .blocks_without_attention import GROUP_BITS, MagvitImporter, has_signs_of_latent
from .code_choice import SignsOfLatent


class WeTok(MagvitImporter):
    """The signs of 8 channels are a code, the first channel its least significant bit; each group has 256 codes."""

    title = "WeTok"
    source = "https://github.com/zhuangshaobin/WeTok"
    licence = "Apache-2.0"
    notes = (
        *MagvitImporter.notes,
        "The original lists the tokens of a position together (y x q); vistok's tokens are q y x, group after group.",
    )
    choice = SignsOfLatent(bits=GROUP_BITS)
    preprocessing = PreprocessingConfig(size=256, resampling="linear", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        return has_signs_of_latent(shapes, in_groups=True)
