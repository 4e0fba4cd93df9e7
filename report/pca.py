"""The principal plane of codes."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Plane(NamedTuple):
    """Codes projected to the plane in which they vary most."""

    points: NDArray[np.float64]
    """`k 2`, of mean 0; the first axis has the larger variance."""
    variance: float
    """Fraction of the codes' variance that the plane holds, in [0, 1]."""


def principal_plane(codes: NDArray[np.floating[Any]]) -> Plane:
    """Project codes `k d` to their first two principal components; the largest loading of each is made positive."""
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, ::-1][:, :2]
    # The sign of a component is arbitrary; fixing it gives equal maps for equal codes.
    largest = np.take_along_axis(plane, np.abs(plane).argmax(axis=0, keepdims=True), axis=0)
    points = centred @ (plane * np.sign(largest))
    total = float(variances.sum())
    fraction = float(variances[::-1][:2].sum()) / total if total > 0 else 1.0
    return Plane(np.pad(points, ((0, 0), (0, 2 - points.shape[1]))), min(fraction, 1.0))
