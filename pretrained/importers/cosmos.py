"""The discrete image tokenizers of Cosmos (DI8x8 and DI16x16, arXiv 2501.03575)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ...tokenizer.preprocessing import PreprocessingConfig
from ...tokenizer.quantizers import QuantizerConfig
from ...tokenizer.quantizers.scalar.fsq import FSQConfig
from ..public import NVIDIA_LICENCE
from . import haar
from .base import Importer, Shapes, Take
from .code_choice import CODEBOOK
from .convolutional import ConvolutionalTranslation

LEVELS = [8, 8, 8, 5, 5, 5]
"""Values of each channel, as published; the checkpoint does not show them."""


class RoundedChannels(NamedTuple):
    """Finite scalar quantization; there is no table."""

    def config(self, _: Shapes, __: Mapping[str, Any]) -> QuantizerConfig:
        return FSQConfig(levels=LEVELS, bound="outer")

    def weight(self, name: str, _: Take) -> Tensor:
        raise AssertionError(f"rounding needs no tensor {name}")


def _recognises(shapes: Shapes) -> bool:
    has_layers = {"encoder.down.0.block.0.conv1.weight", "encoder.mid.block_1.conv1.weight", "quant_conv.weight"}
    has_patches = shapes.get("encoder.conv_in.weight", (0, 0))[1:2] > (haar.COLOURS,)
    return has_layers <= shapes.keys() and has_patches and CODEBOOK not in shapes


COSMOS = Importer(
    title="Cosmos",
    source="https://github.com/NVIDIA/Cosmos-Tokenizer",
    licence=NVIDIA_LICENCE,
    recognises=_recognises,
    translation=ConvolutionalTranslation(
        RoundedChannels(),
        PreprocessingConfig(size="native", fit="surround", multiple=16, background=(0, 0, 0), colour="ignore"),
        conversions={
            r"encoder\.conv_in\.weight": haar.from_pixels,
            r"decoder\.conv_out\.(weight|bias)": haar.to_pixels,
        },
    ),
    notes=(
        "The weights are published in bfloat16, and the original computes in it; vistok computes in float32, so a few tokens "
        "differ.",
        "Images keep their size and are padded with black to multiples of 16 pixels, half of it before the image, as "
        "published.",
        "The Haar transform of 4 x 4 pixels is part of the first and the last convolution.",
    ),
    # Buffers that the module does not store, but a TorchScript archive does.
    ignored=(
        r"(inv_quant\.)?quantizer\.(_levels|_basis|implicit_codebook)|(en|de)coder\.(un)?patcher\.(wavelets|_arange)"
    ),
)
"""Taming's names, on the Haar transform of squares of 4 x 4 pixels; some neighbouring levels share a grid."""
