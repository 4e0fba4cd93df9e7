"""Networks of residual blocks that have neither attention nor biases, in the manner of MAGVIT-v2 (arXiv 2310.05737)."""

from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad

from .base import RESIZED_AS_OPENCV, Shapes
from .code_choice import CODEBOOK
from .convolutional import ConvolutionalImporter
from .layer_names import LayerNames, numbered

MIDDLE = "encoder.mid_block.0.conv1.weight"
"""Shows the network of Open-MAGVIT2."""
GROUP_BITS = 8
"""Channels of each of WeTok's groups."""


def in_3x3(kernels: Tensor) -> Tensor:
    """Surround 1 x 1 kernels by zeros."""
    return pad(kernels, (1, 1, 1, 1))


def in_order_of_pixel_shuffle(tensor: Tensor) -> Tensor:
    """Reorder a convolution's outputs `(2 dy + dx) c` as pixel shuffle takes them, `c (2 dy + dx)`."""
    return rearrange(tensor, "(square c) ... -> (c square) ...", square=4)


class BlocksWithoutAttention(ConvolutionalImporter):
    """Only the last convolutions, those around the latent and those between levels have biases."""

    without_bias = r"encoder\.conv_in\.bias|.*\d\.(conv1|conv2|shortcut)\.bias"


class MagvitImporter(BlocksWithoutAttention):
    """The network of Open-MAGVIT2 (arXiv 2409.04410), with the averaged weights, which its users evaluate."""

    notes: tuple[str, ...] = (RESIZED_AS_OPENCV,)
    ignored = r"loss\..*|model_ema\.(loss.*|decay|num_updates)"
    uses_average = True
    names = LayerNames(downsample="downsample", upsample="upsample.conv1", middle_blocks=numbered("mid_block.{}"))
    options = {"quantizer_convolutions": False, "resampling": "subpixel"}
    conversions = {
        r"encoder\.conv_out\.weight": in_3x3,
        r"decoder\.levels\.\d+\.conv\.(weight|bias)": in_order_of_pixel_shuffle,
    }


def has_signs_of_latent(shapes: Shapes, in_groups: bool) -> bool:
    """Return whether a checkpoint with the network of Open-MAGVIT2 has no table of codes, and WeTok's groups or not.

    WeTok's latents have 32 or 64 channels, those of Open-MAGVIT2 14 or 18.
    """
    latent = shapes.get("encoder.conv_out.weight")
    if MIDDLE not in shapes or CODEBOOK in shapes or not latent:
        return False
    return (latent[0] % GROUP_BITS == 0) == in_groups
