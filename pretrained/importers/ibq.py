"""IBQ of SEED-Voken (arXiv 2412.02692)."""

from ...tokenizer.preprocessing import PreprocessingConfig
from .base import RESIZED_AS_OPENCV, Shapes
from .code_choice import NearestCode
from .convolutional import ConvolutionalImporter
from .taming_names import taming_names


class IBQ(ConvolutionalImporter):
    """The code with the max dot product; the averaged weights, which the project evaluates."""

    title = "IBQ"
    source = "https://github.com/TencentARC/SEED-Voken"
    licence = "Apache-2.0"
    notes = (RESIZED_AS_OPENCV,)
    ignored = r"loss\..*|model_ema\.(loss.*|decay|num_updates)"
    uses_average = True
    choice = NearestCode("dot")
    preprocessing = PreprocessingConfig(size=256, resampling="linear", colour="ignore")

    def recognises(self, shapes: Shapes) -> bool:
        names = taming_names(shapes)
        return names is not None and names.may_be_ibq()
