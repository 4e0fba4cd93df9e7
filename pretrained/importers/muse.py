"""The VQGAN of open-muse, a reproduction of Muse (arXiv 2301.00704)."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import Shapes
from .code_choice import NearestCode
from .convolutional import ConvolutionalImporter
from .taming_names import taming_names


class Muse(ConvolutionalImporter):
    """Taming's names; pixels in [0, 1], and usually no attention."""

    title = "open-muse VQGAN"
    source = "https://github.com/huggingface/open-muse"
    licence = "Apache-2.0 for the code; see its page for that of the weights"
    notes = (
        "Pixels are in [0, 1] in the networks.",
        "As published, images are resized and cropped with torchvision's rounding and its antialiased bilinear filter.",
    )
    choice = NearestCode("euclidean")
    preprocessing = PreprocessingConfig(
        size=256, crop="even_centre", rounding="down", resampling="bilinear", colour="ignore"
    )
    pixel_values = (0.0, 1.0)
    min_attentions = 2

    def recognises(self, shapes: Shapes) -> bool:
        names = taming_names(shapes)
        return names is not None and names.may_be_muse()
