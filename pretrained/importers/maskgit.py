"""The VQGAN of MaskGIT (arXiv 2202.04200), as open-muse and TiTok have it in PyTorch."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Importer, has_tensors
from .blocks_without_attention import WITHOUT_BIAS, in_3x3
from .code_choice import CODEBOOK, NearestCode
from .convolutional import ConvolutionalTranslation
from .layer_names import LayerNames, numbered

TRANSLATION = ConvolutionalTranslation(
    NearestCode("euclidean"),
    PreprocessingConfig(size=256, crop="even_centre", rounding="down", colour="ignore"),
    LayerNames(upsample="upsample_conv", middle_blocks=numbered("mid.{}")),
    pixel_values=(0.0, 1.0),
    options={"quantizer_convolutions": False, "resampling": "pooled", "shortcut": "output"},
    without_bias=WITHOUT_BIAS,
    conversions={r"encoder\.conv_out\.weight": in_3x3},
)
MASKGIT = Importer(
    title="MaskGIT VQGAN",
    source="https://github.com/huggingface/open-muse",
    licence="Apache-2.0",
    recognises=has_tensors("encoder.down.0.block.0.conv1.weight", "encoder.mid.0.norm1.weight", CODEBOOK),
    translation=TRANSLATION,
    notes=(
        "Pixels are in [0, 1] in the networks.",
        "TiTok's code resizes with a bicubic filter, as vistok does here, and open-muse with a bilinear one.",
    ),
)
