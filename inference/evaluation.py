"""How good a tokenizer is on pictures: reconstruction, use of the codebook, size and speed."""

import math
import time
from collections.abc import Iterable
from typing import NamedTuple

import torch

from ..images.preprocessing import to_pixels
from ..tokenizer.metrics import psnr, ssim
from ..tokenizer.usage import codebook_usage, count_tokens, distortion
from .api import Tokenizer
from .pipeline import ReadPicture


class Evaluation(NamedTuple):
    """Means over pictures, each at the tokenizer's own preprocessing; codebook figures are means over codebooks."""

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


@torch.inference_mode()
def evaluate(tokenizer: Tokenizer, pictures: Iterable[ReadPicture]) -> Evaluation:
    """Reconstruct pictures one at a time and measure; raise ValueError when there are none."""
    model = tokenizer.model
    counts = torch.zeros(tokenizer.num_codebooks, tokenizer.vocab_size, dtype=torch.int64)
    sums = torch.zeros(3, dtype=torch.float64)
    number = pixels_seen = 0
    seconds = 0.0
    for picture in pictures:
        pixels = to_pixels(torch.from_numpy(picture.pixels.copy()).unsqueeze(0)).to(tokenizer.device)
        started = time.perf_counter()
        output = model(pixels)
        shown = _as_shown(output.pixels).cpu()
        seconds += time.perf_counter() - started
        error = distortion(model.quantizer.project(output.latent), output.quantized)
        sums += torch.stack([psnr(pixels.cpu(), shown)[0], ssim(pixels.cpu(), shown)[0], error.cpu()]).double()
        counts += count_tokens(output.tokens.cpu(), tokenizer.vocab_size)
        pixels_seen += pixels.shape[2] * pixels.shape[3]
        number += 1
    if not number:
        raise ValueError("There is no picture to evaluate on: give pictures that can be read.")
    usages = codebook_usage(counts)
    return Evaluation(
        pictures=number,
        psnr=float(sums[0] / number),
        ssim=float(sums[1] / number),
        usage=sum(usage.usage for usage in usages) / len(usages),
        perplexity=sum(usage.perplexity for usage in usages) / len(usages),
        distortion=float(sums[2] / number),
        tokens=int(counts[0].sum()),
        bits_per_pixel=int(counts.sum()) * math.log2(tokenizer.vocab_size) / pixels_seen,
        pictures_per_second=number / seconds,
    )


def _as_shown(pixels: torch.Tensor) -> torch.Tensor:
    """Round to the 256 values of a picture on a screen."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
