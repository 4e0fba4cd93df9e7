"""Networks of residual blocks that have neither attention nor biases, in the manner of MAGVIT-v2 (arXiv 2310.05737)."""

from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad

WITHOUT_BIAS = r"encoder\.conv_in\.bias|.*\d\.(conv1|conv2|shortcut)\.bias"
"""Biases that they do not have: only the last convolutions, those around the latent and those between levels do."""


def in_3x3(kernels: Tensor) -> Tensor:
    """Surround 1 x 1 kernels by zeros."""
    return pad(kernels, (1, 1, 1, 1))


def in_order_of_pixel_shuffle(tensor: Tensor) -> Tensor:
    """Reorder a convolution's outputs `(2 dy + dx) c` as pixel shuffle takes them, `c (2 dy + dx)`."""
    return rearrange(tensor, "(square c) ... -> (c square) ...", square=4)
