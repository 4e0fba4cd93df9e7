"""LlamaGen's VQ-8 and VQ-16 (arXiv 2406.06525), and Janus (arXiv 2410.13848), which uses VQ-16 at 384 pixels."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import RESIZED_AS_TENSORS, Shapes
from .code_choice import CODEBOOK, NearestCode
from .convolutional import ConvolutionalImporter
from .layer_names import LayerNames

NAMES = LayerNames(
    encoder_level="encoder.conv_blocks.{}",
    decoder_level="decoder.conv_blocks.{}",
    coarsest_first=True,
    block="res.{}",
    middle_blocks=("mid.0", "mid.2"),
    middle_attention="mid.1",
)
JANUS_LICENCE = "DeepSeek Model License"
PADDED = PreprocessingConfig(size=384, crop="none", background=(127, 127, 127), colour="ignore")
PADDING = "As Janus's processor does, images are resized whole, and padded to a square with grey (127)."


class LlamaGen(ConvolutionalImporter):
    """Latents and codes are normalised to the unit sphere, for the choice of the code and for decoding."""

    title = "LlamaGen"
    source = "https://github.com/FoundationVision/LlamaGen"
    licence = "MIT"
    notes = ("As published, large images are halved with a box filter before the bicubic resize.",)
    ignored = r"quantize\.codebook_used"
    names = NAMES
    choice = NearestCode("cosine")
    preprocessing = PreprocessingConfig(size=256, halve_first=True, colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        return "encoder.conv_blocks.0.res.0.conv1.weight" in shapes and CODEBOOK in shapes


class Janus(ConvolutionalImporter):
    """The part of Janus's original file."""

    title = "Janus (LlamaGen VQ-16)"
    source = "https://github.com/deepseek-ai/Janus"
    licence = JANUS_LICENCE
    notes = (PADDING,)
    ignored = r"quantize\.codebook_used"
    prefixes = ("gen_vision_model.",)
    is_part = True
    names = NAMES
    choice = NearestCode("cosine")
    preprocessing = PADDED.model_copy(update={"rounding": "down"})

    def recognises(self, shapes: Shapes) -> bool:
        return "encoder.conv_blocks.0.res.0.conv1.weight" in shapes and CODEBOOK in shapes


class JanusOfTransformers(ConvolutionalImporter):
    """The part of transformers' Janus: taming's names, but the decoder's list begins with the coarsest grid."""

    title = "Janus (LlamaGen VQ-16, transformers)"
    source = "https://github.com/deepseek-ai/Janus"
    licence = JANUS_LICENCE
    notes = (
        PADDING,
        RESIZED_AS_TENSORS,
        "transformers' encode does not normalise latents and codes, so its tokens differ. vistok's are those of the original.",
    )
    prefixes = ("model.vqmodel.",)
    names = LayerNames(coarsest_first=True)
    choice = NearestCode("cosine")
    preprocessing = PADDED

    def recognises(self, shapes: Shapes) -> bool:
        needed = {
            "encoder.mid.block_1.conv1.weight",
            "decoder.up.0.upsample.conv.weight",
            "quant_conv.weight",
            CODEBOOK,
        }
        return needed <= shapes.keys()
