"""How good a tokenizer is on pictures: reconstruction, use of the codebook, size and speed."""

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .metrics import psnr, ssim
from .model import VisualTokenizer
from .shapes import Pixels
from .usage import codebook_usage, count_tokens, distortion, no_counts


class Quality(NamedTuple):
    """Means over pictures; codebook figures are means over codebooks."""

    pictures: int
    psnr: float
    """dB, after the reconstruction is rounded to 256 values."""
    ssim: float
    """Structural similarity, at most 1."""
    usage: float
    """Share of the codes that occur among all tokens, in [0, 1]."""
    perplexity: float
    """exp of the entropy of the codes' frequencies."""
    distortion: float
    """Mean squared distance a channel between latents and their codes."""
    tokens: int
    """Tokens of all pictures, of each codebook."""
    bits_per_pixel: float
    """Bits of the tokens, log2(vocab_size) each, for a pixel."""
    pictures_per_second: float
    """Encoding and decoding one picture at a time in float32."""


class Measured(NamedTuple):
    """Quality, and what it was taken from."""

    quality: Quality
    counts: Tensor
    """How often each code was used, `q k`."""


@torch.inference_mode()
def measure(
    model: VisualTokenizer,
    pictures: Iterable[Pixels],
    look: Callable[[Pixels, Pixels], None] | None = None,
) -> Measured:
    """Reconstruct pictures `1 c h w` one at a time and measure; raise ValueError when there are none.

    `look` is shown each picture and its reconstruction, rounded to 256 values, both on the CPU.
    """
    device = next(model.parameters()).device
    quantizer = model.quantizer
    counts = no_counts(quantizer.num_codebooks, quantizer.vocab_size)
    sums = torch.zeros(3, dtype=torch.float64)
    number = pixels_seen = 0
    seconds = 0.0
    for picture in pictures:
        pixels = picture.to(device)
        started = time.perf_counter()
        output = model(pixels)
        shown = as_shown(output.pixels).cpu()
        seconds += time.perf_counter() - started
        error = distortion(quantizer.project(output.latent), output.quantized)
        sums += torch.stack([psnr(pixels.cpu(), shown)[0], ssim(pixels.cpu(), shown)[0], error.cpu()]).double()
        counts += count_tokens(output.tokens.cpu(), quantizer.vocab_size)
        pixels_seen += pixels.shape[2] * pixels.shape[3]
        number += 1
        if look:
            look(pixels.cpu(), shown)
    if not number:
        raise ValueError("There is no picture to evaluate on: give pictures that can be read.")
    usages = codebook_usage(counts)
    quality = Quality(
        pictures=number,
        psnr=float(sums[0] / number),
        ssim=float(sums[1] / number),
        usage=sum(usage.usage for usage in usages) / len(usages),
        perplexity=sum(usage.perplexity for usage in usages) / len(usages),
        distortion=float(sums[2] / number),
        tokens=int(counts[0].sum()),
        bits_per_pixel=int(counts.sum()) * math.log2(quantizer.vocab_size) / pixels_seen,
        pictures_per_second=number / seconds,
    )
    return Measured(quality, counts)


def as_shown(pixels: Pixels) -> Pixels:
    """Round to the 256 values of a picture on a screen."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
