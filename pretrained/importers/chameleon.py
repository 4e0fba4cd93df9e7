"""The VQGAN of Chameleon (arXiv 2405.09818), which Anole and Lumina-mGPT use too."""

from ...tokenizer.preprocessing import PreprocessingConfig
from ..public import CHAMELEON_LICENCE
from .base import RESIZED_AS_TENSORS, Importer
from .code_choice import NearestCode
from .convolutional import ConvolutionalTranslation
from .taming_names import by_taming_names

PREPROCESSING = PreprocessingConfig(size=512, resampling="lanczos", blending="truncated", colour="ignore")
BLENDING = "As published, transparent images are blended onto white, and the result is truncated to whole numbers."

CHAMELEON = Importer(
    title="Chameleon",
    source="https://github.com/facebookresearch/chameleon",
    licence=CHAMELEON_LICENCE,
    recognises=by_taming_names(lambda names: names.has_decoder and names.may_be_chameleon()),
    translation=ConvolutionalTranslation(NearestCode("euclidean"), PREPROCESSING),
    notes=(BLENDING, "The original truncates decoded pixels to whole numbers; vistok rounds them."),
    ignored=r"loss\..*",
)
"""The original file: taming's network without attention in its levels."""
CHAMELEON_OF_TRANSFORMERS = CHAMELEON._replace(
    title="Chameleon (transformers)",
    recognises=by_taming_names(lambda names: not names.has_decoder and names.may_be_chameleon()),
    translation=ConvolutionalTranslation(
        NearestCode("euclidean"),
        PREPROCESSING.model_copy(update={"rounding": "down"}),
        pixel_values=(-1.0, 0.989),
    ),
    notes=(
        BLENDING,
        RESIZED_AS_TENSORS,
        "Its processor multiplies pixels by 0.0078 instead of 2/255 and subtracts 1, so white is 0.989. vistok does the same: "
        "pixel_values is (-1, 0.989). A few tokens differ from those of the original file, which sees white as 1.",
    ),
    ignored=r"post_quant_conv\..*",
    prefixes=("model.vqmodel.",),
)
"""The part of transformers' language model: no decoder, and white is a little below 1."""
