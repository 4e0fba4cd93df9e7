"""Colours of use, from rare to frequent."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .axes import number

SHADES = 6
"""Colours of use in page.css, from rare to frequent."""


def shades_of_use(counts: NDArray[np.number[Any]]) -> NDArray[np.int64]:
    """Return a shade for each count, in equal steps of its logarithm from min to max; -1 for a count of 0."""
    used = counts[counts > 0]
    if not len(used):
        return np.full(len(counts), -1)
    low, high = np.log(used.min()), np.log(used.max())
    logs = np.log(np.where(counts > 0, counts, used.min()))
    fractions = (logs - low) / (high - low) if high > low else np.ones(len(counts))
    return np.where(counts > 0, np.clip((fractions * SHADES).astype(np.int64), 0, SHADES - 1), -1)


def shades_legend(counts: NDArray[np.number[Any]]) -> str:
    """Return the entry of a legend that shows all shades between the min and the max of what is used; empty without any."""
    used = counts[counts > 0]
    if not len(used):
        return ""
    ramp = "".join(f'<i class="u{shade}"></i>' for shade in range(SHADES))
    low, high = (
        f"{value:,}" if float(value).is_integer() else number(float(value)) for value in (used.min(), used.max())
    )
    return f"<li>{low} {ramp} {high} tokens</li>"
