"""The rows of a quality table: what each figure is called, how it is written, and which direction is better."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

FRECHET = "frechet/"
"""Prefix of the Frechet distances; the rest of the name is a timm model."""


class Row(NamedTuple):
    """A figure of a quality table."""

    label: str
    form: str
    """Format string of its value."""
    better: Literal["higher", "lower", ""] = ""

    def text(self, value: float | None) -> str:
        """Return the formatted value; None is written as not measured."""
        return "not measured" if value is None else self.form.format(value)


ROWS = {
    "psnr": Row("PSNR", "{:.2f} dB", "higher"),
    "ssim": Row("SSIM", "{:.4f}", "higher"),
    "lpips": Row("LPIPS (VGG)", "{:.4f}", "lower"),
    "rfid": Row("rFID (Inception)", "{:.3f}", "lower"),
    "usage": Row("codebook usage", "{:.1%}", "higher"),
    "perplexity": Row("perplexity", "{:,.0f}", "higher"),
    "distortion": Row("distortion", "{:.3g}", "lower"),
    "effective_rank": Row("effective rank of the codes", "{:.2f}", "higher"),
    "latent_effective_rank": Row("effective rank of the latents", "{:.2f}"),
    "tokens": Row("tokens", "{:,}"),
    "bits_per_pixel": Row("bits per pixel", "{:.4f}", "lower"),
    "images_per_second": Row("images per second", "{:.1f}", "higher"),
}
"""By the key of metrics.json, in the order in which they are shown."""
HEADLINES = ("psnr", "ssim", "lpips", "rfid", "usage", "perplexity", "bits_per_pixel")
"""Keys of the figures at the head of a page."""


def quality_rows(*columns: Mapping[str, float | None]) -> list[list[str]]:
    """Return a row `label, value of each column, better` for every figure that all columns have.

    Figures follow the order of ROWS, then come the Frechet distances. Keys that are neither get no row.
    """
    common = [name for name in columns[0] if all(name in column for column in columns)]
    frechet = [name for name in common if name.startswith(FRECHET)]
    rows = {name: ROWS[name] for name in ROWS if name in common}
    rows |= {name: Row(f"Frechet distance, {name.removeprefix(FRECHET)}", "{:.4f}", "lower") for name in frechet}
    return [[row.label, *(row.text(column[name]) for column in columns), row.better] for name, row in rows.items()]


def finite_figures(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the figures for metrics.json; one that is not finite, such as the PSNR of equal images, becomes None."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def missing_notes(reasons: Mapping[str, str]) -> list[str]:
    """Return a sentence for each figure that was not measured, with the reason by its key."""
    return [
        f"{ROWS[name].label if name in ROWS else name} was not measured. {reason}" for name, reason in reasons.items()
    ]


def headline_figures(values: Mapping[str, float | None]) -> dict[str, str]:
    """Return the headline figures among `values`, formatted, by label."""
    return {ROWS[name].label: ROWS[name].text(values[name]) for name in HEADLINES if name in values}
