"""Codes on a plane."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Projection(NamedTuple):
    """Codes on the plane in which they vary most."""

    points: NDArray[np.float64]
    """`k 2`, of mean 0, the first axis the one of greater variance."""
    variance: float
    """Fraction of the codes' variance that the plane holds, in [0, 1]."""


def project(codes: NDArray[np.floating[Any]]) -> Projection:
    """Project codes `k d` by principal components; the greatest loading of each axis is positive."""
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, ::-1][:, :2]
    # The sign of a component is arbitrary: fixed, equal codes give equal maps.
    greatest = np.take_along_axis(plane, np.abs(plane).argmax(axis=0, keepdims=True), axis=0)
    points = centred @ (plane * np.sign(greatest))
    total = float(variances.sum())
    fraction = float(variances[::-1][:2].sum()) / total if total > 0 else 1.0
    return Projection(np.pad(points, ((0, 0), (0, 2 - points.shape[1]))), min(fraction, 1.0))
