"""The content of a report: results, curves, codebooks, images and the machine, before anything is drawn."""

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .. import __version__
from ..tokenizer.devices import device_name
from ..tokenizer.system import cpu_info, usable_cores


class Curve(NamedTuple):
    """A scalar over the steps of a run; values that are not finite are gaps."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]


class Chart(NamedTuple):
    """Curves on common axes; on a log scale, values of 0 and below are gaps too."""

    title: str
    curves: Sequence[Curve]
    log_scale: bool = False
    unit: str = "step"
    """What the steps of the curves count."""


class Histogram(NamedTuple):
    """Numbers of things by a positive quantity, on a log scale."""

    title: str
    unit: str
    """Of the quantity, such as `megapixels`."""
    things: str
    """What is counted, in the plural."""
    edges: Sequence[float]
    """Ascending limits of the bars, one more than there are."""
    numbers: Sequence[int]


class Comparison(NamedTuple):
    """An image and its reconstruction, at one size."""

    label: str
    original: Image.Image
    reconstruction: Image.Image


class Single(NamedTuple):
    """A reconstruction that has no original to be compared with."""

    label: str
    reconstruction: Image.Image


class CodebookView(NamedTuple):
    """How often each code of a codebook occurs, and the codes themselves."""

    name: str
    counts: NDArray[np.integer[Any]]
    """Tokens of each code, `k`, or of each hash slot."""
    codes: NDArray[np.floating[Any]] | None = None
    """The codes `k d`, or None for a quantizer that computes them."""
    vocab_size: int | None = None
    """Number of codes; None if there is a count for each, more than the counts if those are of hash slots."""
    on_log_ranks: bool = False
    """Whether the codes by rank are drawn on a log scale of the rank too, beside a uniform draw."""


class Table(NamedTuple):
    """Formatted cells; each row is as long as the header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class ComparedRow(NamedTuple):
    """One figure of all that are compared."""

    label: str
    cells: Sequence[str]
    better: str
    """higher, lower, or empty."""
    best: frozenset[int] = frozenset()
    """Indices of the best cells."""
    is_detail: bool = False
    """Whether it belongs to the row above."""


class ComparedSection(NamedTuple):
    """Figures measured in one way."""

    title: str
    conditions: Sequence[str]
    """How each column was measured, in a word or two."""
    rows: Sequence[ComparedRow]


class ImageRow(NamedTuple):
    """An image beside several reconstructions of it, all of one size."""

    label: str
    original: Image.Image
    reconstructions: Mapping[str, Image.Image]
    """By caption."""


class Scatter(NamedTuple):
    """One point for each of several things."""

    title: str
    x: str
    """What is measured along the axis."""
    y: str
    points: Mapping[str, tuple[float, float]]
    """`x y` by name, finite."""


class SideBySide(NamedTuple):
    """Several tokenizers on the same images."""

    columns: Sequence[str]
    explanation: Sequence[str]
    """A sentence each: how they were measured."""
    sections: Sequence[ComparedSection]
    images: Sequence[ImageRow] = ()
    scatter: Scatter | None = None
    usage: Sequence[Curve] = ()
    """Tokens by the rank of their code, as `usage_curve` returns them."""


class Report(NamedTuple):
    """Everything on a page; empty parts are left out."""

    title: str
    subtitle: str = ""
    figures: Mapping[str, str] = {}
    """The headline numbers by label, with their units: `"22.4 dB"`."""
    notes: Sequence[str] = ()
    """Alarms and warnings, a sentence each."""
    charts: Sequence[Chart] = ()
    codebooks: Sequence[CodebookView] = ()
    comparisons: Sequence[Comparison] = ()
    tables: Mapping[str, Table] = {}
    """Tables by title."""
    config: str = ""
    """The configuration as text."""
    environment: Mapping[str, str] = {}
    """Versions and machine, as `environment()` returns them."""
    side_by_side: SideBySide | None = None
    """What is compared, at the head of the page."""
    galleries: Mapping[str, Sequence[Comparison | Single]] = {}
    """More reconstructions, by their heading."""
    histograms: Sequence[Histogram] = ()
    image_rows: Mapping[str, Sequence[ImageRow]] = {}
    """Images with several reconstructions each, by their heading."""


def environment(device: torch.device | None = None) -> dict[str, str]:
    """Return the versions, the machine, the device if one was used, and the time (UTC), by name."""
    return {
        "vistok": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        # On Linux platform.processor() is empty, or only the instruction set.
        "processor": cpu_info().get("model name") or platform.processor() or platform.machine(),
        "cores": str(usable_cores()),
        **({"device": device_name(device)} if device else {}),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
