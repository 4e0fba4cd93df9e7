"""The VQGAN of open-muse, a reproduction of Muse (arXiv 2301.00704)."""

from ...tokenizer.preprocessing import PreprocessingConfig
from ..public import MUSE_LICENCE
from .base import Importer
from .code_choice import NearestCode
from .convolutional import ConvolutionalTranslation
from .taming_names import TamingNames, by_taming_names

MUSE = Importer(
    title="open-muse VQGAN",
    source="https://github.com/huggingface/open-muse",
    licence=MUSE_LICENCE,
    recognises=by_taming_names(TamingNames.may_be_muse),
    translation=ConvolutionalTranslation(
        NearestCode("euclidean"),
        PreprocessingConfig(size=256, crop="even_centre", rounding="down", resampling="bilinear", colour="ignore"),
        pixel_values=(0.0, 1.0),
        min_attentions=2,
    ),
    notes=(
        "Pixels are in [0, 1] in the networks.",
        "As published, images are resized and cropped with torchvision's rounding and its antialiased bilinear filter.",
    ),
)
"""Taming's names; usually no attention."""
