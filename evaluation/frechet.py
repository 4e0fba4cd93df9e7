"""Frechet distance between two sets of images, from statistics of their features that are gathered as they come."""

from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from ..tokenizer.devices import in_float64
from ..tokenizer.shapes import Vectors


class FeatureStatistics(NamedTuple):
    """What the Frechet distance needs to know of a set of feature vectors."""

    number: int
    """Vectors that were seen."""
    mean: Float64[Tensor, " d"]
    """Their mean."""
    scatter: Float64[Tensor, "d d"]
    """Sum of the outer products of their deviations from the mean."""

    @property
    def covariance(self) -> Float64[Tensor, "d d"]:
        """The unbiased covariance; of fewer than 2 vectors there is none, which raises ValueError."""
        if self.number < 2:
            raise ValueError(f"The covariance of {self.number} images is not known: give 2 images at least.")
        return self.scatter / (self.number - 1)


def feature_statistics(features: Vectors) -> FeatureStatistics:
    """Return the statistics of vectors `n d`, in float64, on their device where it has that."""
    vectors = in_float64(features.detach())
    mean = vectors.mean(dim=0) if len(vectors) else vectors.new_zeros(vectors.shape[1])
    deviations = vectors - mean
    return FeatureStatistics(len(vectors), mean, deviations.T @ deviations)


def merge_statistics(a: FeatureStatistics, b: FeatureStatistics) -> FeatureStatistics:
    """Return the statistics of both sets together (Chan, Golub and LeVeque 1979), however they were split."""
    number = a.number + b.number
    if number == 0:
        return a
    apart = b.mean - a.mean
    mean = a.mean + apart * (b.number / number)
    return FeatureStatistics(
        number, mean, a.scatter + b.scatter + torch.outer(apart, apart) * (a.number * b.number / number)
    )


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of means and covariances (arXiv 1706.08500), in float64.

    The last trace is the sum of the singular values of C_a^1/2 C_b^1/2, roots taken from eigenvalues. With fewer
    images than dimensions the covariances are singular and the distance is biased upwards: compare only distances of
    equally many images. Raises ValueError for fewer than 2 images, or features of different lengths.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"Features of {len(a.mean)} and of {len(b.mean)} values cannot be compared: use one backbone for both."
        )
    a, b = (side._replace(mean=side.mean.cpu(), scatter=side.scatter.cpu()) for side in (a, b))
    if not bool(torch.isfinite(a.scatter).all() and torch.isfinite(b.scatter).all()):
        raise ValueError("Features hold values that are not finite: look for broken images or weights.")
    common = torch.linalg.matrix_norm(_root(a.covariance) @ _root(b.covariance), ord="nuc")
    spread = a.covariance.trace() + b.covariance.trace() - 2 * common
    return max(0.0, float((a.mean - b.mean).square().sum() + spread))


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
