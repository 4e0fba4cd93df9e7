"""Frechet distance between two sets of feature vectors.

torchmetrics' FrechetInceptionDistance is not used: it sums products without taking off the mean and takes eigenvalues of
a product that is not symmetric. With fewer images than features, as in most evaluations, that was wrong by 1 % (50 images,
2048 features) and negative for a set and itself; and its float64 states do not go to Apple's GPU.
"""

import torch
from torch import Tensor

from .running_covariance import RunningCovariance


def frechet_distance(a: RunningCovariance, b: RunningCovariance) -> float:
    """Return |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of means m and unbiased covariances C (arXiv 1706.08500).

    Both must have been built with `full=True`. Waits for the device; the calculation is in float64 on the CPU, where
    tr (C_a C_b)^1/2 is the sum of the singular values of C_a^1/2 C_b^1/2. With fewer images than features the distance is
    biased upwards: compare only distances of equally many images. Raises ValueError for fewer than 2 images, features of
    different lengths, or values that are not finite.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"Features of {len(a.mean)} and of {len(b.mean)} values cannot be compared: use one backbone for both."
        )
    covariances = [_covariance(side) for side in (a, b)]
    common = torch.linalg.matrix_norm(_root(covariances[0]) @ _root(covariances[1]), ord="nuc")
    spread = covariances[0].trace() + covariances[1].trace() - 2 * common
    shift = a.mean.cpu().double() - b.mean.cpu().double()
    return max(0.0, float(shift.square().sum() + spread))


def _covariance(features: RunningCovariance) -> Tensor:
    count = int(features.count)
    if count < 2:
        raise ValueError(f"A Frechet distance needs at least 2 images, but got {count}: give more images.")
    scatter = features.scatter.cpu().double()
    if not scatter.isfinite().all():
        raise ValueError("Features hold values that are not finite: look for broken images or weights.")
    return scatter / (count - 1)


def _root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
