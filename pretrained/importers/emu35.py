"""The tokenizer of Emu3.5 (arXiv 2510.26583), an IBQ (arXiv 2412.02692) with 131,072 codes, which Apertus 1.5 uses too."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import RESIZED_AS_TENSORS, Shapes
from .code_choice import CODEBOOK, NearestCode
from .convolutional import ConvolutionalImporter
from .layer_names import LayerNames
from .taming_names import taming_names


class Emu35(ConvolutionalImporter):
    """The code with the max dot product."""

    title = "Emu3.5"
    source = "https://github.com/baaivision/Emu3.5"
    licence = "Apache-2.0"
    notes = (
        "As published, images keep their aspect ratio at an area of about 512 x 512 pixels.",
        "The original truncates decoded pixels to whole numbers; vistok rounds them.",
    )
    ignored = r"loss\..*"
    choice = NearestCode("dot")
    preprocessing = PreprocessingConfig(size="area:512", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        names = taming_names(shapes)
        return names is not None and names.may_be_emu35()


class Apertus(ConvolutionalImporter):
    """The part of transformers' Apertus 1.5: the same encoder under other names, and no decoder."""

    title = "Emu3.5 (Apertus 1.5)"
    source = "https://github.com/baaivision/Emu3.5"
    licence = "Apache-2.0"
    notes = (
        "As published, images keep their aspect ratio, and their size from an area of 128 x 128 to one of 1400 x 1400 pixels.",
        RESIZED_AS_TENSORS,
    )
    prefixes = ("vision_tokenizer.", "model.vision_tokenizer.")
    names = LayerNames(encoder_level="encoder.stages.{}", block="layers.{}.resnet", attention="layers.{}.attention")
    choice = NearestCode("dot")
    preprocessing = PreprocessingConfig(size="area:128-1400", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        return {"encoder.stages.0.layers.0.resnet.conv1.weight", "quant_conv.weight", CODEBOOK} <= shapes.keys()
