"""How good a tokenizer is on images: reconstruction, use of the codebook, size and speed."""

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import DEVICE_BATCH, batch_for, run_exactly
from ..tokenizer.numerics.float32 import own_numerics
from ..tokenizer.shapes import Pixels
from .metrics import psnr, ssim
from .running_covariance import RunningCovariance
from .token_counts import count_tokens, empty_counts
from .usage import codebook_usage, distortion


class Quality(NamedTuple):
    """Means over images; codebook figures are means over codebooks."""

    images: int
    psnr: float
    """dB, after the reconstruction is rounded to 256 values."""
    ssim: float
    """Structural similarity, at most 1."""
    usage: float
    """Fraction of the codes that occur among all tokens, in [0, 1]; an estimate where they are too many to count."""
    perplexity: float
    """exp of the entropy of the codes' frequencies."""
    distortion: float
    """Mean squared distance a channel between latents and their codes."""
    effective_rank: float | None
    """Directions in which the codes vary, as often as they occur: see `RunningCovariance`; None above 1,024 channels."""
    latent_effective_rank: float | None
    """The same of the latents."""
    tokens: int
    """Tokens of all images, of each codebook."""
    bits_per_pixel: float
    """Bits of the tokens, log2(vocab_size) each, for a pixel."""
    images_per_second: float
    """Encoding and decoding in float32."""


class Measurement(NamedTuple):
    """Quality, and what it was taken from."""

    quality: Quality
    counts: Tensor
    """How often each code was used: see `empty_counts`."""


def measure(
    model: VisualTokenizer,
    batches: Iterable[Pixels],
    look: Callable[[Pixels, Pixels], None] | None = None,
) -> Measurement:
    """Reconstruct images, given in batches `b c h w` (see `in_batches`), and measure; raise ValueError when there are none.

    Tokens are those of the exact encoder, and the batches do not change the figures. `look` is shown each batch and its
    reconstruction, rounded to 256 values, on the model's device.
    """
    device = next(model.parameters()).device
    quantizer = model.quantizer
    counts = empty_counts(quantizer.num_codebooks, quantizer.vocab_size, device)
    latents, codes = RunningCovariance(quantizer.dim, device), RunningCovariance(quantizer.dim, device)
    sums: list[Tensor] = []
    number = pixels_seen = 0
    seconds = 0.0
    for batch in batches:
        with own_numerics(device):
            pixels = batch.to(device)
            started = time.perf_counter()
            output = _reconstructed(model, pixels, device)
            shown = as_shown(output.pixels)
            _wait_for(device)
            seconds += time.perf_counter() - started
            points = quantizer.to_code_space(output.latent)
            error = distortion(points, output.quantized)
            latents.add(points)
            codes.add(output.quantized)
            sums.append(torch.stack([*_likeness(pixels, shown), error * len(pixels)]))
            count_tokens(counts, output.tokens, quantizer.vocab_size)
            pixels_seen += pixels[:, 0].numel()
            number += len(pixels)
            if look:
                look(pixels, shown)
    if not number:
        raise ValueError("There is no image to evaluate on: give images that can be read.")
    counts = counts.cpu()
    usages = codebook_usage(counts, quantizer.vocab_size)
    psnrs, ssims, errors = (float(total) / number for total in torch.stack(sums).cpu().double().sum(dim=0))
    quality = Quality(
        images=number,
        psnr=psnrs,
        ssim=ssims,
        usage=sum(usage.usage for usage in usages) / len(usages),
        perplexity=sum(usage.perplexity for usage in usages) / len(usages),
        distortion=errors,
        effective_rank=codes.effective_rank(),
        latent_effective_rank=latents.effective_rank(),
        tokens=int(counts[0].sum()),
        bits_per_pixel=int(counts.sum()) * math.log2(quantizer.vocab_size) / pixels_seen,
        images_per_second=number / seconds,
    )
    return Measurement(quality, counts)


class _Output(NamedTuple):
    pixels: Tensor
    latent: Tensor
    quantized: Tensor
    tokens: Tensor


def _reconstructed(model: VisualTokenizer, pixels: Pixels, device: torch.device) -> _Output:
    def network(batch: Pixels) -> tuple[Tensor, ...]:
        output = model(batch.contiguous(memory_format=torch.channels_last))
        return _Output(output.pixels, output.latent, output.quantized, output.tokens)

    return _Output(*run_exactly(network, pixels, device, batch_for(DEVICE_BATCH, *pixels.shape[2:])))


def _likeness(pixels: Pixels, shown: Pixels) -> tuple[Tensor, Tensor]:
    """Return the sums of PSNR and SSIM over a batch."""
    return psnr(pixels, shown).sum(), ssim(pixels, shown).sum()


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def as_shown(pixels: Pixels) -> Pixels:
    """Round to the 256 values of a image on a screen."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
