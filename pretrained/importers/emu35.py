"""The tokenizer of Emu3.5 (arXiv 2510.26583), an IBQ (arXiv 2412.02692) with 131,072 codes, which Apertus 1.5 uses too."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import RESIZED_AS_TENSORS, Importer, has_tensors
from .code_choice import CODEBOOK, NearestCode
from .convolutional import ConvolutionalTranslation
from .layer_names import LayerNames
from .taming_names import TamingNames, by_taming_names

EMU35 = Importer(
    title="Emu3.5",
    source="https://github.com/baaivision/Emu3.5",
    licence="Apache-2.0",
    recognises=by_taming_names(TamingNames.may_be_emu35),
    translation=ConvolutionalTranslation(NearestCode("dot"), PreprocessingConfig(size="area:512", colour="ignore")),
    notes=(
        "As published, images keep their aspect ratio at an area of about 512 x 512 pixels.",
        "The original truncates decoded pixels to whole numbers; vistok rounds them.",
    ),
    ignored=r"loss\..*",
)
"""The code with the max dot product."""
APERTUS = Importer(
    title="Emu3.5 (Apertus 1.5)",
    source=EMU35.source,
    licence=EMU35.licence,
    recognises=has_tensors("encoder.stages.0.layers.0.resnet.conv1.weight", "quant_conv.weight", CODEBOOK),
    translation=ConvolutionalTranslation(
        NearestCode("dot"),
        PreprocessingConfig(size="area:128-1400", colour="ignore"),
        LayerNames(encoder_level="encoder.stages.{}", block="layers.{}.resnet", attention="layers.{}.attention"),
    ),
    notes=(
        "As published, images keep their aspect ratio, and their size from an area of 128 x 128 to one of 1400 x 1400 pixels.",
        RESIZED_AS_TENSORS,
    ),
    prefixes=("vision_tokenizer.", "model.vision_tokenizer."),
)
"""The part of transformers' Apertus 1.5: the same encoder under other names, and no decoder."""
