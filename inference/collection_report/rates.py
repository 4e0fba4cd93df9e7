"""Throughput over time: of a call as it runs, or of a folder by the times of its shards."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from ...report.content import Chart, Curve
from ...tokenizer.wording import pluralize

MAX_POINTS = 512
BINS = 60
"""Max points of the curve."""
MIN_SECONDS = 5.0
"""Between the first point of a curve and the last."""
PAUSE, PAUSE_FACTOR = 60.0, 20
"""Seconds, and a multiple of the median time between shards, after which nothing ran."""
UNITS = ((5 * 3600, "hour", 3600.0), (300, "minute", 60.0), (0, "second", 1.0))


class Point(NamedTuple):
    """How many images were done at a time, in seconds."""

    at: float
    images: int


class RateLog:
    """The progress of a call, in bounded memory: every point at first, then ever fewer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._points: list[Point] = []
        self._stride = 0.05
        self._last: Point | None = None

    def add(self, images: int) -> None:
        """Note how many images are done now; cheap."""
        self._last = Point(self._clock(), images)
        if self._points and self._last.at < self._points[-1].at + self._stride:
            return
        self._points.append(self._last)
        if len(self._points) > MAX_POINTS:
            self._points = self._points[::2]
            self._stride *= 2

    def points(self) -> list[Point]:
        """Return the points, the last one among them."""
        is_new = self._last is not None and (not self._points or self._last.at > self._points[-1].at)
        return self._points + ([self._last] if is_new and self._last else [])


def points_of_shards(times: Sequence[tuple[float, int]]) -> tuple[list[Point], int]:
    """Return the points of shards, by when each was written and its images, and the number of pauses, which are cut out.

    The images of the first are left out, since nothing says when it was begun.
    """
    ordered = sorted(times)
    steps = [later - sooner for (sooner, _), (later, _) in pairwise(ordered)]
    usual = median(steps) if steps else 0.0
    at, images, pauses = 0.0, 0, 0
    points = [Point(0.0, 0)] if ordered else []
    for step, (_, number) in zip(steps, ordered[1:], strict=True):
        is_pause = step > max(PAUSE, PAUSE_FACTOR * usual)
        pauses += is_pause
        at, images = at + (usual if is_pause else step), images + number
        points.append(Point(at, images))
    return points, pauses


def rate_chart(title: str, points: Sequence[Point], pauses: int = 0) -> Chart | None:
    """Return images per second over the time since the first point; None where that is too short to say anything."""
    if len(points) < 2 or points[-1].at < points[0].at + MIN_SECONDS:
        return None
    seconds = np.array([point.at - points[0].at for point in points])
    images = np.array([point.images for point in points], np.float64)
    edges = np.linspace(0, seconds[-1], min(BINS, len(seconds) - 1) + 1)
    rates = np.diff(np.interp(edges, seconds, images)) / np.diff(edges)
    unit, each = next((unit, each) for least, unit, each in UNITS if seconds[-1] >= least)
    cut = f", {pluralize(pauses, 'pause')} left out" if pauses else ""
    middles = (edges[:-1] + edges[1:]) / 2 / each
    return Chart(f"{title}{cut}", [Curve("images per second", middles.tolist(), rates.tolist())], unit=unit)
