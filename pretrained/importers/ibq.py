"""IBQ of SEED-Voken (arXiv 2412.02692)."""

from .base import RESIZED_AS_OPENCV, SQUARE, Importer
from .code_choice import NearestCode
from .convolutional import ConvolutionalTranslation
from .taming_names import TamingNames, by_taming_names

IBQ = Importer(
    title="IBQ",
    source="https://github.com/TencentARC/SEED-Voken",
    licence="Apache-2.0",
    recognises=by_taming_names(TamingNames.may_be_ibq),
    translation=ConvolutionalTranslation(NearestCode("dot"), SQUARE),
    notes=(RESIZED_AS_OPENCV,),
    ignored=r"loss\..*|model_ema\.(loss.*|decay|num_updates)",
    uses_average=True,
)
"""The code with the max dot product; the averaged weights, with which the project reports results."""
