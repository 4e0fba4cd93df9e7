"""Axes: positions of values, tick marks, and how numbers are written."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Tick(NamedTuple):
    """A marked value."""

    value: float
    label: str


class Axis(NamedTuple):
    """The values from `low` to `high`, spaced evenly or by their logarithms."""

    low: float
    high: float
    log: bool = False

    def place(self, values: Array) -> Array:
        """Return the positions of values: 0 at `low`, 1 at `high`."""
        if self.log:
            return (np.log(values) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (values - self.low) / (self.high - self.low)


def value_axis(values: Array, log: bool) -> Axis:
    """Return an axis that holds at least one finite value; on a log scale all must be positive."""
    low, high = float(values.min()), float(values.max())
    if log:
        margin = max((high / low) ** 0.05, 1.1)
        return Axis(low / margin, high * margin, log=True)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = abs(low) / 2 or 1.0
        low, high = low - half, high + half
    step = nice_step(high - low, 4)
    return Axis(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def count_axis(low: float, high: float) -> Axis:
    """Return an axis of numbers >= 0 from `low`, or from 0 if that is near, to `high`; a single number is centred."""
    if high == low:
        return Axis(low - 1, high + 1)
    return Axis(0 if low < high / 10 else low, high)


def ticks(axis: Axis, about: int = 6, whole: bool = False) -> list[Tick]:
    """Return round values of an axis, integers if `whole`, at most `about` or one or two more."""
    if axis.log:
        return _log_ticks(axis, about)
    step = nice_step(axis.high - axis.low, about)
    if whole:
        step = max(1.0, step)
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    return _labelled([index * step for index in range(first, last + 1)], step)


def nice_step(span: float, parts: int) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that divides a span into at most `parts`."""
    raw = span / parts
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))


def number(value: float) -> str:
    """Format a number with four digits, or with all digits before the point."""
    if not math.isfinite(value):
        return "not finite"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value and abs(value) < 1e-4:
        digits, exponent = f"{value:.3e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:.4g}"


def _log_ticks(axis: Axis, about: int) -> list[Tick]:
    bottom, top = math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high))
    stride = max(1, math.ceil((math.log10(axis.high) - math.log10(axis.low)) / about))
    for factors in ((1,), (1, 3), (1, 2, 5)):
        values = [factor * 10.0**power for power in range(bottom, top + 1, stride) for factor in factors]
        inside = [value for value in values if axis.low <= value <= axis.high]
        if len(inside) >= 3:
            return [Tick(value, _power(value)) for value in inside]
    return ticks(Axis(axis.low, axis.high), about)


def _power(value: float) -> str:
    if 1e-3 <= value < 1e9:
        unit, suffix = (1e6, "M") if value >= 1e6 else (1e3, "k") if value >= 1e4 else (1.0, "")
        return f"{value / unit:,g}{suffix}"
    exponent = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**exponent)
    return ("" if factor == 1 else f"{factor}·") + "10" + str(exponent).translate(SUPERSCRIPTS)


def _labelled(values: list[float], step: float) -> list[Tick]:
    largest = max(map(abs, values), default=0.0)
    if 0 < largest < 1e-3 or largest >= 1e9:
        exponent = math.floor(math.log10(largest))
        unit, suffix = 10.0**exponent, "·10" + str(exponent).translate(SUPERSCRIPTS)
    elif largest >= 1e7 and step >= 1e4:
        unit, suffix = 1e6, "M"
    elif largest >= 1e4 and step >= 10:
        unit, suffix = 1e3, "k"
    else:
        unit, suffix = 1.0, ""
    decimals = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return [Tick(value, f"{value / unit:,.{decimals}f}{suffix}" if abs(value) > step / 2 else "0") for value in values]
