"""How close reconstructions are to their images."""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from ..tokenizer.devices import in_float64
from ..tokenizer.shapes import Pixels


def psnr(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB, ` b`, for pixels in [-1, 1] (a range of 2).

    The reconstruction is clamped first, as it is when it becomes an image. Equal images give infinity.
    """
    difference = in_float64(pixels) - in_float64(reconstruction).clamp(-1, 1)
    return (10 * torch.log10(4 / difference.square().mean(dim=(1, 2, 3)))).float().to(pixels.device)


def ssim(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the structural similarity of each image, ` b`, over Gaussian windows of 11 x 11 (Wang et al. 2004)."""
    values = structural_similarity_index_measure(
        reconstruction.clamp(-1, 1), pixels, data_range=(-1.0, 1.0), reduction="none"
    )
    assert isinstance(values, Tensor)
    return values
