"""How good a tokenizer is on images: reconstruction, codebook usage, size and speed."""

import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..tokenizer.decoders.base import PLAIN
from ..tokenizer.model import VisualTokenizer
from ..tokenizer.numerics.exact import exact_batch, run_exactly
from ..tokenizer.numerics.float32 import own_numerics
from ..tokenizer.numerics.layout import memory_format, way_of
from ..tokenizer.shapes import Pixels, Tokens
from .metrics import distortion, psnr, ssim
from .running_covariance import RunningCovariance
from .usage import codebook_usage, count_tokens, empty_counts


class Quality(NamedTuple):
    """Means over images. Codebook figures are means over codebooks."""

    images: int
    psnr: float | None
    """dB, after the reconstruction is rounded to uint8; None without a decoder."""
    ssim: float | None
    """Structural similarity, at most 1; None without a decoder."""
    usage: float
    """Fraction of the codes that occur among all tokens, in [0, 1]; an estimate when there are too many to count."""
    perplexity: float
    """exp of the entropy of the codes' frequencies."""
    distortion: float
    """Mean squared distance per channel between latents and their codes."""
    effective_rank: float | None
    """Effective rank of the codes, weighted by how often they occur: see `RunningCovariance`; None above 1,024 channels."""
    latent_effective_rank: float | None
    """Effective rank of the latents."""
    tokens: int
    """Tokens of all images, in each codebook."""
    bits_per_pixel: float
    """Bits of the tokens, log2(vocab_size) each, per pixel."""
    images_per_second: float
    """Encoding and decoding in float32, or encoding alone without a decoder."""


class Measurement(NamedTuple):
    """The quality of a tokenizer, and its token counts."""

    quality: Quality
    counts: Tensor
    """How often each code occurs, on the CPU: see `empty_counts`."""


def measure(
    model: VisualTokenizer,
    batches: Iterable[Pixels],
    on_batch: Callable[[Pixels, Pixels], None] | None = None,
    on_tokens: Callable[[Tokens, Pixels], None] | None = None,
    decoder: str = PLAIN,
    seed: int = 0,
) -> Measurement:
    """Reconstruct images, given in batches `b c h w` in [-1, 1], and measure; raise ValueError when there are none.

    Tokens are those of the exact encoder, and how images are batched does not change the figures. `on_batch` gets each
    batch and its reconstruction, rounded to uint8, on the model's device. Without a decoder it is never called.
    `on_tokens` gets the tokens of each batch and its pixels, there too. `decoder` and `seed` are those of `decode_latent`.
    """
    device = next(model.parameters()).device
    quantizer, vocab_size = model.quantizer, model.quantizer.vocab_size
    counts = empty_counts(quantizer.num_codebooks, vocab_size, device)
    latents, codes = (RunningCovariance(quantizer.dim, device) for _ in range(2))
    sums: list[Tensor] = []  # over the images of each batch, so that nothing waits for the device
    images = area = 0
    seconds = 0.0

    def network(batch: Pixels) -> tuple[Tensor, ...]:
        pixels = batch.contiguous(memory_format=memory_format(device, way_of(model.dtype)))
        latent = model.encode_latent(pixels)
        quantized, tokens, _ = quantizer(latent)
        decoded = [model.decode_latent(quantized, decoder, seed)] if model.has_decoder else []
        return latent, quantized, tokens, *decoded

    for batch in batches:
        with own_numerics(device):
            pixels = batch.to(device)
            started = time.perf_counter()
            output = run_exactly(network, pixels, device, exact_batch(None, *pixels.shape[2:]))
            reconstructions = [round_to_uint8(decoded) for decoded in output[3:]]
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds += time.perf_counter() - started
            latent, quantized, tokens = quantizer.to_code_space(output[0]), output[1], output[2]
            errors = distortion(latent, quantized) * len(pixels)
            metrics = [metric(pixels, each).sum() for each in reconstructions for metric in (psnr, ssim)]
            sums.append(torch.stack([errors, *metrics]))
            latents.add(latent)
            codes.add(quantized)
            count_tokens(counts, tokens, vocab_size)
            if on_tokens:
                on_tokens(tokens, pixels)
            images += len(pixels)
            area += pixels[:, 0].numel()
            if on_batch:
                for reconstruction in reconstructions:
                    on_batch(pixels, reconstruction)
    if not images:
        raise ValueError("There is no image to evaluate on: give images that can be read.")
    counts = counts.cpu()
    usages = codebook_usage(counts, vocab_size)
    mean_distortion, *closeness = (torch.stack(sums).cpu().double().sum(dim=0) / images).tolist()
    quality = Quality(
        images=images,
        psnr=closeness[0] if closeness else None,
        ssim=closeness[1] if closeness else None,
        usage=sum(usage.usage for usage in usages) / len(usages),
        perplexity=sum(usage.perplexity for usage in usages) / len(usages),
        distortion=mean_distortion,
        effective_rank=codes.effective_rank(),
        latent_effective_rank=latents.effective_rank(),
        tokens=int(counts[0].sum()),
        bits_per_pixel=int(counts.sum()) * math.log2(vocab_size) / area,
        images_per_second=images / seconds,
    )
    return Measurement(quality, counts)


def round_to_uint8(pixels: Pixels) -> Pixels:
    """Return pixels clamped to [-1, 1] and rounded to the 256 values that an image file has."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
