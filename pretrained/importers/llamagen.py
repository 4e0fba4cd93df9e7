"""LlamaGen's VQ-8 and VQ-16 (arXiv 2406.06525)."""

from .base import Shapes
from .convolutional import CODEBOOK, ConvolutionalImporter


class LlamaGen(ConvolutionalImporter):
    """Latents and codes are normalised to the unit sphere, for the choice of the code and for decoding."""

    title = "LlamaGen"
    source = "https://github.com/FoundationVision/LlamaGen"
    licence = "MIT"
    notes = ("LlamaGen halves large images with a box filter before its bicubic resize; vistok resizes once.",)
    ignored = r"quantize\.codebook_used"
    similarity = "cosine"
    levels = {"encoder": "conv_blocks", "decoder": "conv_blocks"}
    coarsest_first = True
    blocks = "res"
    attentions = "attn"
    middle = ("mid.0", "mid.1", "mid.2")

    def recognises(self, shapes: Shapes) -> bool:
        return "encoder.conv_blocks.0.res.0.conv1.weight" in shapes and CODEBOOK in shapes
