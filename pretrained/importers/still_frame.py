"""Convolutions over time, as convolutions over a single image that is repeated in time.

A causal convolution has two frames of zeros before the first. The layers between the frames and the latent see several frames,
which become channels here, frame after frame; those that see one frame use the last position of their kernels alone.
"""

import torch
from einops import rearrange
from torch import Tensor

from .base import Take

ZEROS = 2
"""Frames before the first."""
STRIDE = 2
BATCH_NORM_EPS = 1e-5


def shrinking(tensor: Tensor, frames: int, is_still: bool) -> Tensor:
    """Convert kernels `d_out d_in time y x` of a layer that halves `frames` to `(frame d_out) (frame d_in) y x`, and its bias.

    Where all frames are the same image, `is_still`, it has no frames on the side of the input.
    """
    if tensor.ndim == 1:
        return tensor.repeat(frames // STRIDE)
    outputs, inputs, times = tensor.shape[:3]
    spread = tensor.new_zeros(frames // STRIDE, outputs, frames, inputs, *tensor.shape[3:])
    for frame in range(frames // STRIDE):
        for time in range(times):
            seen = STRIDE * frame + time - ZEROS
            if 0 <= seen < frames:
                spread[frame, :, seen] += tensor[:, :, time]
    if is_still:
        spread = spread.sum(dim=2, keepdim=True)
    return rearrange(spread, "frame d_out seen d_in y x -> (frame d_out) (seen d_in) y x")


def last(tensor: Tensor) -> Tensor:
    """Convert kernels `d_out d_in time y x` to `d_out d_in y x`, for the last frame that they see; a bias remains."""
    return tensor if tensor.ndim == 1 else tensor[:, :, -1].clone()


def block_weight(name: str, block: str, take: Take) -> Tensor:
    """Return a tensor of a latent block, such as conv1.weight, made from the residual block `block` of the checkpoint.

    Its first batch normalisation is the block's weight and bias; the second becomes part of the first convolution.
    """
    if name in ("weight", "bias"):
        return _affine(f"{block}.norm1", take)[name == "bias"]
    layer, parameter = name.split(".")
    tensor = take(f"{block}.{layer}.conv.{parameter}")
    if layer == "conv1":
        scale, shift = _affine(f"{block}.norm2", take)
        tensor = tensor * scale.reshape(-1, *[1] * (tensor.ndim - 1)) + (shift if parameter == "bias" else 0)
    return last(tensor)


def _affine(norm: str, take: Take) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a batch normalisation, which uses the statistics of its training."""
    weight, bias, mean, variance = (
        take(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight.double() / torch.sqrt(variance.double() + BATCH_NORM_EPS)
    return scale.float(), (bias.double() - mean.double() * scale).float()
