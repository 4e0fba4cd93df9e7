"""The VQGAN of Chameleon (arXiv 2405.09818), which Anole and Lumina-mGPT use too."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import RESIZED_AS_TENSORS, Shapes
from .code_choice import NearestCode
from .convolutional import ConvolutionalImporter
from .taming_names import taming_names

PREPROCESSING = PreprocessingConfig(size=512, resampling="lanczos", blending="truncated", colour="ignore")
BLENDING = "As published, transparent images are blended onto white, and the result is truncated to whole numbers."


class Chameleon(ConvolutionalImporter):
    """The original file: taming's network without attention in its levels."""

    title = "Chameleon"
    source = "https://github.com/facebookresearch/chameleon"
    licence = "Chameleon Research License (non-commercial)"
    notes = (BLENDING, "The original truncates decoded pixels to whole numbers; vistok rounds them.")
    ignored = r"loss\..*"
    choice = NearestCode("euclidean")
    preprocessing = PREPROCESSING

    def recognises(self, shapes: Shapes) -> bool:
        names = taming_names(shapes)
        return names is not None and names.has_decoder and names.may_be_chameleon()


class ChameleonOfTransformers(ConvolutionalImporter):
    """The part of transformers' language model: no decoder, and white is a little below 1."""

    title = "Chameleon (transformers)"
    source = "https://github.com/facebookresearch/chameleon"
    licence = "Chameleon Research License (non-commercial)"
    notes = (
        BLENDING,
        RESIZED_AS_TENSORS,
        "Its processor multiplies pixels by 0.0078 instead of 2/255 and subtracts 1, so white is 0.989. vistok does the same: "
        "pixel_values is (-1, 0.989). A few tokens differ from those of the original file, which sees white as 1.",
    )
    ignored = r"post_quant_conv\..*"
    prefixes = ("model.vqmodel.",)
    choice = NearestCode("euclidean")
    preprocessing = PREPROCESSING.model_copy(update={"rounding": "down"})
    pixel_values = (-1.0, 0.989)

    def recognises(self, shapes: Shapes) -> bool:
        names = taming_names(shapes)
        return names is not None and not names.has_decoder and names.may_be_chameleon()
