"""How good one decoder is: how near it comes to the images, what detail it paints, and what its noise changes.

A decoder is a function from tokens and a seed to pixels, so one measurement serves those of every kind.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from ..tokenizer.devices import in_float64
from ..tokenizer.numerics.exact import exact_batch, run_exactly
from ..tokenizer.shapes import Pixels, Tokens
from .agreement import equal_fraction
from .exact_coding import Decode, Encode
from .metrics import psnr, ssim
from .quality import round_to_uint8
from .spectrum import EDGES, power_kept, radial_power, spectrum_error

BANDS = tuple(f"power/{low:g}-{high:g}" for low, high in pairwise(EDGES))
"""Keys of the power that bands keep, by their edges as fractions of the Nyquist frequency."""
ROUNDS = 5


class DecoderQuality(NamedTuple):
    """Figures of a decoder, on reconstructions rounded to uint8. Those of one image are from the first seed."""

    images: int
    psnr: float
    """Mean over images, in dB."""
    ssim: float
    perceptual: float | None
    """Mean over images of the perceptual distance that was given; None without one."""
    power_kept: list[float]
    """Fraction of the images' power in each band: see `spectrum.power_kept`."""
    high_power_kept: float
    """The same for all frequencies above half of the Nyquist frequency: the last two bands together."""
    spectrum_error: float
    """Mean over images, in dB: see `spectrum.spectrum_error`."""
    agreement: float
    """Fraction of the tokens that are the same after decoding and encoding."""
    seed_variance: float | None
    """Unbiased variance over seeds of a value in [-1, 1], mean over images and pixels; None for one seed."""
    seed_spread: float | None
    """Twice that variance, as a fraction of the mean squared error over all seeds; None for one seed, or without an error.

    1 for samples of the true distribution of images given the tokens, of which the image itself is one; 0 without noise.
    """
    milliseconds: float
    """Median time of decoding the first image alone, warm."""

    def figures(self) -> dict[str, float | None]:
        """Return all figures by their keys in metrics.json; those of the bands are BANDS."""
        values = self._asdict()
        bands = dict(zip(BANDS, values.pop("power_kept"), strict=True))
        return values | bands


def measure_decoder(
    batches: Iterable[Pixels],
    encode: Encode,
    decode: Decode,
    perceptual: nn.Module | None = None,
    seeds: Sequence[int] = (0, 1),
    on_batch: Callable[[Pixels, list[Pixels]], None] | None = None,
) -> DecoderQuality:
    """Encode images, given in batches `b c h w` in [-1, 1], decode them with each seed, and measure.

    The figures do not depend on how images are batched if `encode` and `decode` do not: see `exact_encoder`.
    `perceptual(pixels, reconstruction)` returns a distance for each image, on the device of the reconstructions. `on_batch`
    gets each batch, and its reconstruction with each seed, rounded to uint8. Raises ValueError when there is no image.
    """
    measured: list[tuple[Tensor, ...]] = []
    first: Tokens | None = None
    for batch in batches:
        tokens = encode(batch)
        decoded = [round_to_uint8(decode(tokens, seed)) for seed in seeds]
        pixels = batch.to(decoded[0].device)
        again = equal_fraction(tokens, encode(decoded[0]))
        measured.append((again, *_closeness(pixels, decoded, perceptual)))
        first = tokens[:1] if first is None else first
        if on_batch:
            on_batch(pixels, decoded)
    if first is None:
        raise ValueError("There is no image to measure a decoder on: give images that can be read.")
    agreement, theirs, ours, error, variance, *others = (
        torch.cat([value.cpu().double() for value in column]) for column in zip(*measured, strict=True)
    )
    means = [float(column.mean()) for column in others]
    spread = float(2 * variance.mean() / error.mean())
    return DecoderQuality(
        images=len(agreement),
        psnr=means[0],
        ssim=means[1],
        perceptual=means[3] if perceptual else None,
        power_kept=power_kept(theirs, ours),
        high_power_kept=power_kept(*(bands[:, 2:].sum(dim=1, keepdim=True) for bands in (theirs, ours)))[0],
        spectrum_error=means[2],
        agreement=float(agreement.mean()),
        seed_variance=float(variance.mean()) if len(seeds) > 1 else None,
        seed_spread=spread if len(seeds) > 1 and error.any() else None,
        milliseconds=decode_milliseconds([decode], first)[0],
    )


def decode_milliseconds(decoders: Sequence[Decode], tokens: Tokens, rounds: int = ROUNDS) -> list[float]:
    """Return the median time of each decoder on the same tokens, in turns so that a busy machine disturbs all alike.

    A round before them warms up. Copying the pixels to the CPU counts.
    """
    times: list[list[float]] = [[] for _ in decoders]
    for _ in range(rounds + 1):
        for decode, taken in zip(decoders, times, strict=True):
            started = time.perf_counter()
            decode(tokens, 0).cpu()
            taken.append(1000 * (time.perf_counter() - started))
    return [statistics.median(taken[1:]) for taken in times]


def _closeness(pixels: Pixels, decoded: list[Pixels], perceptual: nn.Module | None) -> tuple[Tensor, ...]:
    """Return figures of every image, each calculated from that image alone.

    They are the power of both sides in bands; the mean squared error over all seeds, and the unbiased variance over them (0
    for one); and of the first seed PSNR, SSIM, error of the spectrum, and perceptual distance where there is one.
    """

    def measure(sides: Tensor) -> tuple[Tensor, ...]:
        original, *samples = rearrange(sides, "b (side c) h w -> side b c h w", side=1 + len(decoded))
        theirs, ours = radial_power(original), radial_power(samples[0])
        stacked = in_float64(torch.stack(samples))
        error = (stacked - in_float64(original)).square().mean(dim=(0, 2, 3, 4))
        variance = stacked.var(dim=0, correction=1 if len(samples) > 1 else 0).mean(dim=(1, 2, 3))
        figures = [metric(original, samples[0]) for metric in (psnr, ssim)]
        figures.append(spectrum_error(theirs.rings, ours.rings))
        if perceptual:
            figures.append(perceptual(original, samples[0]))
        return theirs.bands, ours.bands, error, variance, *figures

    size = exact_batch(None, *pixels.shape[2:])
    return run_exactly(measure, torch.cat([pixels, *decoded], dim=1), pixels.device, size)
