"""LlamaGen's VQ-8 and VQ-16 (arXiv 2406.06525), and Janus (arXiv 2410.13848), which uses VQ-16 at 384 pixels."""

from ...tokenizer.preprocessing import PreprocessingConfig
from ..public import DEEPSEEK_LICENCE
from .base import RESIZED_AS_TENSORS, Importer, Shapes, has_tensors
from .code_choice import CODEBOOK, NearestCode
from .convolutional import ConvolutionalTranslation
from .layer_names import LayerNames

PADDED = PreprocessingConfig(size=384, crop="none", background=(127, 127, 127), colour="ignore")
PADDING = "As Janus's processor does, images are resized whole, and padded to a square with grey (127)."
TRANSLATION = ConvolutionalTranslation(
    NearestCode("cosine"),
    PreprocessingConfig(size=256, halve_first=True, colour="ignore"),
    LayerNames(
        encoder_level="encoder.conv_blocks.{}",
        decoder_level="decoder.conv_blocks.{}",
        coarsest_first=True,
        block="res.{}",
        middle_blocks=("mid.0", "mid.2"),
        middle_attention="mid.1",
    ),
)
"""Latents and codes are normalised to the unit sphere, for the choice of the code and for decoding."""


def _recognises(shapes: Shapes) -> bool:
    return "encoder.conv_blocks.0.res.0.conv1.weight" in shapes and CODEBOOK in shapes


LLAMAGEN = Importer(
    title="LlamaGen",
    source="https://github.com/FoundationVision/LlamaGen",
    licence="MIT",
    recognises=_recognises,
    translation=TRANSLATION,
    notes=("As published, large images are halved with a box filter before the bicubic resize.",),
    ignored=r"quantize\.codebook_used",
)
JANUS = LLAMAGEN._replace(
    title="Janus (LlamaGen VQ-16)",
    source="https://github.com/deepseek-ai/Janus",
    licence=DEEPSEEK_LICENCE,
    translation=TRANSLATION._replace(preprocessing=PADDED.model_copy(update={"rounding": "down"})),
    notes=(PADDING,),
    prefixes=("gen_vision_model.",),
    is_part=True,
)
"""The part of Janus's original file."""
JANUS_OF_TRANSFORMERS = Importer(
    title="Janus (LlamaGen VQ-16, transformers)",
    source=JANUS.source,
    licence=JANUS.licence,
    recognises=has_tensors(
        "encoder.mid.block_1.conv1.weight", "decoder.up.0.upsample.conv.weight", "quant_conv.weight", CODEBOOK
    ),
    translation=TRANSLATION._replace(preprocessing=PADDED, names=LayerNames(coarsest_first=True)),
    notes=(
        PADDING,
        RESIZED_AS_TENSORS,
        "transformers' encode does not normalise latents and codes, so its tokens differ. vistok's are those of the original.",
    ),
    prefixes=("model.vqmodel.",),
)
"""The part of transformers' Janus: taming's names, but the decoder's list begins with the coarsest grid."""
