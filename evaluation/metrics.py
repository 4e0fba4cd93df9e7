"""How close reconstructions are to their images, and latents to their codes."""

import torch
from torch import Tensor

from ..tokenizer.devices import in_float64
from ..tokenizer.shapes import Latent, Pixels


def psnr(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB, ` b`, for pixels in [-1, 1] (a range of 2).

    The reconstruction is clamped first, as it is when it becomes an image. Equal images give infinity.
    """
    difference = in_float64(pixels) - in_float64(reconstruction).clamp(-1, 1)
    return (10 * torch.log10(4 / difference.square().mean(dim=(1, 2, 3)))).float().to(pixels.device)


def ssim(pixels: Pixels, reconstruction: Pixels) -> Tensor:
    """Return the structural similarity of each image, ` b`, over Gaussian windows of 11 x 11 (Wang et al. 2004)."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # late: takes a second to import

    values = structural_similarity_index_measure(
        reconstruction.clamp(-1, 1), pixels, data_range=(-1.0, 1.0), reduction="none"
    )
    assert isinstance(values, Tensor)
    return values


def distortion(projected: Latent, quantized: Latent) -> Tensor:
    """Return the mean squared distance per channel between latents in code space and their codes, a scalar."""
    return (projected.detach().float() - quantized.detach().float()).square().mean()
