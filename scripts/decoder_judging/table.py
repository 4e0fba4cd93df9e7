"""The rows of a judgement as a table of Markdown."""

from typing import Any

from vistok.evaluation.decoder_quality import BANDS
from vistok.evaluation.spectrum import power_returned

HEAD = (
    "decoder",
    "PSNR",
    "SSIM",
    "perceptual",
    "Frechet",
    "power kept",
    "came back",
    "spectrum error",
    "tokens equal",
    "variance over seeds",
    "spread",
    "ms",
    "x plain",
)


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the table; the first row is the plain decoder, with which the power that came back is compared."""
    before = rows[0]["figures"]["high_power_kept"]
    lines = [list(HEAD), ["---"] * len(HEAD)] + [cells(row, before) for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(row: dict[str, Any], before: float) -> list[str]:
    """Return the cells of a row; `before` is the power above half of the Nyquist frequency that the plain decoder keeps."""
    figures = row["figures"]
    return [
        row["label"],
        f"{figures['psnr']:.2f} dB",
        f"{figures['ssim']:.3f}",
        f"{figures['perceptual']:.3f}",
        f"{row['frechet']:.4g}",
        " ".join(fraction(figures[name]) for name in BANDS),
        "-" if row["is_plain"] else f"{power_returned(before, figures['high_power_kept']):.0%}",
        f"{figures['spectrum_error']:.2f} dB",
        f"{figures['agreement']:.1%}",
        "-" if row["is_plain"] else f"{figures['seed_variance']:.1e}",
        "-" if row["is_plain"] else f"{figures['seed_spread']:.2f}",
        f"{figures['milliseconds']:.0f}",
        f"{figures['milliseconds'] / row['plain_milliseconds']:.1f}",
    ]


def fraction(value: float) -> str:
    """Return a fraction as .42, and 1.07 where it is more than the whole."""
    return f"{value:.2f}".removeprefix("0")
