"""The VQGAN of MaskGIT (arXiv 2202.04200), as open-muse and TiTok have it in PyTorch."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Shapes
from .blocks_without_attention import BlocksWithoutAttention, in_3x3
from .code_choice import CODEBOOK, NearestCode
from .layer_names import LayerNames, numbered


class MaskGIT(BlocksWithoutAttention):
    """The nearest code by Euclidean distance; pixels in [0, 1]."""

    title = "MaskGIT VQGAN"
    source = "https://github.com/huggingface/open-muse"
    licence = "Apache-2.0"
    notes = (
        "Pixels are in [0, 1] in the networks.",
        "TiTok's code resizes with a bicubic filter, as vistok does here, and open-muse with a bilinear one.",
    )
    names = LayerNames(upsample="upsample_conv", middle_blocks=numbered("mid.{}"))
    choice = NearestCode("euclidean")
    preprocessing = PreprocessingConfig(size=256, crop="even_centre", rounding="down", colour="ignore")
    pixel_values = (0.0, 1.0)
    options = {"quantizer_convolutions": False, "resampling": "pooled", "shortcut": "output"}
    conversions = {r"encoder\.conv_out\.weight": in_3x3}

    def recognises(self, shapes: Shapes) -> bool:
        return {"encoder.down.0.block.0.conv1.weight", "encoder.mid.0.norm1.weight", CODEBOOK} <= shapes.keys()
