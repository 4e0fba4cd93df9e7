"""VQGANs of taming-transformers (arXiv 2012.09841) and the VQ autoencoders of latent diffusion."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import RESIZED_AS_OPENCV, Shapes
from .code_choice import LikeliestCode, NearestCode
from .convolutional import ConvolutionalImporter
from .taming_names import taming_names


class Taming(ConvolutionalImporter):
    """The nearest code by Euclidean distance."""

    title = "taming-transformers VQGAN"
    source = "https://github.com/CompVis/taming-transformers"
    licence = "MIT"
    notes = (RESIZED_AS_OPENCV,)
    ignored = r"loss\..*"
    prefixes = ("first_stage_model.",)
    choice = NearestCode("euclidean")
    preprocessing = PreprocessingConfig(size=256, resampling="linear", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        names = taming_names(shapes)
        return names is not None and names.may_be_taming()


class TamingGumbel(ConvolutionalImporter):
    """The code of the highest logit, from a second table."""

    title = "taming-transformers Gumbel VQGAN"
    source = "https://github.com/CompVis/taming-transformers"
    licence = "MIT"
    notes = (
        RESIZED_AS_OPENCV,
        "The original draws Gumbel noise even when it only encodes; vistok's tokens are those without noise.",
    )
    ignored = r"loss\..*"
    prefixes = ("first_stage_model.",)
    choice = LikeliestCode()
    preprocessing = PreprocessingConfig(size=256, resampling="linear", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        return {
            "encoder.mid.block_1.conv1.weight",
            "decoder.up.0.block.0.conv1.weight",
            "quantize.proj.weight",
            "quantize.embed.weight",
        } <= shapes.keys()
