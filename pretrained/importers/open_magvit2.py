"""Open-MAGVIT2 of SEED-Voken (arXiv 2409.04410): lookup-free quantization (arXiv 2310.05737) to 2^14 or 2^18 codes.

SimVQ and WeTok have its network with other quantizers.
"""

from .base import RESIZED_AS_OPENCV, SQUARE, Importer, Shapes
from .blocks_without_attention import WITHOUT_BIAS, in_3x3, in_order_of_pixel_shuffle
from .code_choice import CODEBOOK, SignsOfLatent
from .convolutional import ConvolutionalTranslation
from .layer_names import LayerNames, numbered

SQUARE_OF_128 = SQUARE.model_copy(update={"size": 128})
MIDDLE = "encoder.mid_block.0.conv1.weight"
"""Shows the network."""
GROUP_BITS = 8
"""Channels of each of WeTok's groups."""
TRANSLATION = ConvolutionalTranslation(
    SignsOfLatent(),
    SQUARE,
    LayerNames(downsample="downsample", upsample="upsample.conv1", middle_blocks=numbered("mid_block.{}")),
    options={"quantizer_convolutions": False, "resampling": "subpixel"},
    without_bias=WITHOUT_BIAS,
    conversions={
        r"encoder\.conv_out\.weight": in_3x3,
        r"decoder\.levels\.\d+\.conv\.(weight|bias)": in_order_of_pixel_shuffle,
    },
)
"""The signs of all channels are one code; the first channel is its least significant bit."""


def has_signs_of_latent(shapes: Shapes, in_groups: bool) -> bool:
    """Return whether a checkpoint with this network has no table of codes, and WeTok's groups or not.

    WeTok's latents have 32 or 64 channels, those of Open-MAGVIT2 14 or 18.
    """
    latent = shapes.get("encoder.conv_out.weight")
    if MIDDLE not in shapes or CODEBOOK in shapes or not latent:
        return False
    return (latent[0] % GROUP_BITS == 0) == in_groups


def _has_five_levels(shapes: Shapes) -> bool:
    return "encoder.down.4.block.0.conv1.weight" in shapes


OPEN_MAGVIT2 = Importer(
    title="Open-MAGVIT2",
    source="https://github.com/TencentARC/SEED-Voken",
    licence="Apache-2.0",
    recognises=lambda shapes: has_signs_of_latent(shapes, in_groups=False) and _has_five_levels(shapes),
    translation=TRANSLATION,
    notes=(RESIZED_AS_OPENCV,),
    ignored=r"loss\..*|model_ema\.(loss.*|decay|num_updates)",
    uses_average=True,
)
"""One token for 16 x 16 pixels, at 256 pixels; the averaged weights, with which users of this network report results."""
OPEN_MAGVIT2_AT_128 = OPEN_MAGVIT2._replace(
    recognises=lambda shapes: has_signs_of_latent(shapes, in_groups=False) and not _has_five_levels(shapes),
    translation=TRANSLATION._replace(preprocessing=SQUARE_OF_128),
)
"""One token for 8 x 8 pixels, at 128 pixels."""
