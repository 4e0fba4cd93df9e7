"""The rows of a quality table: what each figure is called, how it is written, and which direction is better."""

import math
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

FRECHET = "frechet/"
"""Prefix of the Frechet distances; the rest of the name is a timm model."""


class Row(NamedTuple):
    """A figure of a quality table."""

    label: str
    form: str
    """Format string of its value."""
    better: Literal["higher", "lower", ""] = ""
    is_mean_of_counts: bool = False
    """Whether a value without a fraction is written without one."""

    def text(self, value: float | None) -> str:
        """Return the formatted value; None is written as not measured."""
        return "not measured" if value is None else self._shown(self.form, value)

    def difference(self, value: float | None, other: float) -> str:
        """Return the formatted difference of a value to another, with its sign."""
        return "not measured" if value is None else self._shown(self.form.replace("{:", "{:+"), value - other)

    def _shown(self, form: str, value: float) -> str:
        return form.format(value).removesuffix(".0" if self.is_mean_of_counts else "")


ROWS = {
    "psnr": Row("PSNR", "{:.2f} dB", "higher"),
    "ssim": Row("SSIM", "{:.4f}", "higher"),
    "lpips": Row("LPIPS (VGG)", "{:.4f}", "lower"),
    "rfid": Row("rFID (Inception)", "{:.3f}", "lower"),
    "perceptual": Row("perceptual distance", "{:.4f}", "lower"),
    "power/0.125-0.25": Row("power kept, 1/8 to 1/4 of Nyquist", "{:.1%}"),
    "power/0.25-0.5": Row("power kept, 1/4 to 1/2", "{:.1%}"),
    "power/0.5-0.75": Row("power kept, 1/2 to 3/4", "{:.1%}"),
    "power/0.75-1": Row("power kept, 3/4 to 1", "{:.1%}"),
    "high_power_kept": Row("power kept above 1/2 of Nyquist", "{:.1%}"),
    "spectrum_error": Row("error of the spectrum", "{:.2f} dB", "lower"),
    "agreement": Row("tokens equal after re-encoding", "{:.1%}", "higher"),
    "seed_variance": Row("variance over seeds", "{:.2e}"),
    "seed_spread": Row("spread over seeds (1: as the images)", "{:.2f}"),
    "milliseconds": Row("milliseconds per image", "{:.1f}", "lower"),
    "usage": Row("codebook usage", "{:.1%}", "higher"),
    "even_usage": Row("usage at even use", "{:.1%}"),
    "perplexity": Row("perplexity", "{:,.0f}", "higher"),
    "distortion": Row("distortion", "{:.3g}", "lower"),
    "effective_rank": Row("effective rank of the codes", "{:.2f}", "higher"),
    "latent_effective_rank": Row("effective rank of the latents", "{:.2f}"),
    "tokens": Row("tokens", "{:,}"),
    "tokens_per_image": Row("tokens per image", "{:,.1f}", is_mean_of_counts=True),
    "bits_per_pixel": Row("bits per pixel", "{:.4f}", "lower"),
    "prior_bits_per_image": Row("prior bits per image", "{:,.0f}"),
    "prior_bits_per_pixel": Row("prior bits per pixel", "{:.4f}"),
    "prior_bits_per_token": Row("prior bits per token", "{:.3f}"),
    "prior_fraction": Row("prior bits / log2 codes", "{:.1%}"),
    "images_per_second": Row("images per second", "{:.1f}", "higher"),
}
"""By the key of metrics.json, in the order in which they are shown."""
HEADLINES = (
    *("psnr", "ssim", "lpips", "rfid", "perceptual", "agreement", "milliseconds"),
    *("usage", "perplexity", "bits_per_pixel", "prior_bits_per_pixel"),
)
"""Keys of the figures at the head of a page, and in a line about a decoder."""


def quality_rows(*columns: Mapping[str, float | None]) -> list[list[str]]:
    """Return a row `label, value of each column, better` for every figure that all columns have.

    Figures follow the order of ROWS, then come the Frechet distances. Keys that are neither get no row.
    """
    common = [name for name in columns[0] if all(name in column for column in columns)]
    rows = known_rows(common)
    return [[row.label, *(row.text(column[name]) for column in columns), row.better] for name, row in rows.items()]


def known_rows(names: Collection[str]) -> dict[str, Row]:
    """Return the rows of those figures that have one, in the order of ROWS, then the Frechet distances."""
    rows = {name: ROWS[name] for name in ROWS if name in names}
    frechet = [name for name in names if name.startswith(FRECHET)]
    return rows | {name: Row(f"Frechet distance, {name.removeprefix(FRECHET)}", "{:.4f}", "lower") for name in frechet}


def finite_figures(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the figures for metrics.json; one that is not finite, such as the PSNR of equal images, becomes None."""
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


def missing_notes(reasons: Mapping[str, str]) -> list[str]:
    """Return a sentence for the figures that were not measured for one reason; `reasons` has it by their keys."""
    labels: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        labels.setdefault(reason, []).append(ROWS[name].label if name in ROWS else name)
    return [
        f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} not measured. {reason}"
        for reason, names in labels.items()
    ]


def headline_figures(values: Mapping[str, float | None]) -> dict[str, str]:
    """Return the headline figures among `values`, formatted, by label."""
    return {ROWS[name].label: ROWS[name].text(values[name]) for name in HEADLINES if name in values}
