"""Distortion against learnability: what a comparison shows of the priors."""

from collections.abc import Sequence

from ...report.content import Scatter
from .compare import Compared, Measured
from .prior import prior_sentence

EXPLANATION = (
    "Prior bits are what a small transformer, trained on the tokens of most images, needs for those of the others; divided by "
    "log2 of the codes they compare over codebook sizes."
)


def _part(each: Compared) -> Measured | None:
    return next((part for part in (each.common, each.own) if part and part.prior), None)


def prior_of(each: Compared) -> str:
    """Return a sentence about how the prior of a tokenizer was trained; empty without a prior."""
    part = _part(each)
    return prior_sentence(part.prior) if part and part.prior else ""


def learnability(compared: Sequence[Compared]) -> Scatter | None:
    """Return PSNR over prior bits per pixel, of the tokenizers that have both; None when fewer than two have."""
    points = {}
    for each in compared:
        part = _part(each)
        figures = part.figures if part else {}
        bits, psnr = figures.get("prior_bits_per_pixel"), figures.get("psnr")
        if bits is not None and psnr is not None and psnr < float("inf"):
            points[each.name] = bits, psnr
    return (
        Scatter("Distortion against learnability", "prior bits per pixel", "PSNR (dB)", points)
        if len(points) > 1
        else None
    )
