"""Distances between the distributions of codes and latents: losses that pull the whole codebook, used codes or not."""

import torch
from torch import Tensor

from ...devices import in_float64
from ...shapes import Codes, Vectors
from ..scale import scale_to_one

JITTER = 1e-8
"""Variance added to each channel, relative to the mean over channels."""
MIN_VARIANCE = 1e-30
POLAR_STEPS = 45
"""A step multiplies small singular values by 1.5."""
SAMPLED = 1024
"""Rows of each side that mmd compares, at most."""
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def wasserstein(vectors: Vectors, codes: Codes) -> Tensor:
    """Return the squared 2-Wasserstein distance of the Gaussians with the mean and covariance of each, a scalar.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2), in float64. The last trace is the nuclear norm of L1^T L2 of the
    Cholesky factors, whose gradient stays finite where eigenvalues coincide. A small variance is added to every channel, so
    that covariances of any rank have factors. It compares nothing but mean and covariance. NaN where a row is not finite.
    """
    mean1, factor1, trace1 = _gaussian(in_float64(vectors))
    mean2, factor2, trace2 = _gaussian(in_float64(codes))
    product = factor1.T @ factor2
    # What is not finite cannot be decomposed; means and traces keep the NaN.
    overlap = _nuclear_norm(product.where(product.isfinite(), 0.0))
    return ((mean1 - mean2).square().sum() + trace1 + trace2 - 2 * overlap).to(codes)


def mmd(vectors: Vectors, codes: Codes) -> Tensor:
    """Return the squared maximum mean discrepancy under Gaussian kernels, a scalar in [-2, 2].

    The mean over kernels exp(-|x - y|^2 / (2 s^2)), with s^2 the mean squared distance times 1/4 to 4. At most SAMPLED rows
    of each side are drawn at random. Unlike `wasserstein` it compares every moment. Means within a side are over pairs of
    different rows (the U-statistic of Gretton et al. 2012), so two samples of one distribution give 0 on average. The mean
    within a side of one row counts as 1. A common scale does not matter.
    """
    x, y = _sample(vectors), _sample(codes)
    points = torch.cat([x, y])
    points = points * scale_to_one(points)
    squared = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").square()
    width = squared.detach().mean().clamp_min(MIN_VARIANCE)
    kernel = torch.stack([torch.exp(-squared / (2 * factor * width)) for factor in BANDWIDTHS]).mean(dim=0)
    n = len(x)
    return _over_pairs(kernel[:n, :n]) + _over_pairs(kernel[n:, n:]) - 2 * kernel[:n, n:].mean()


DISTRIBUTIONS = {"wasserstein": wasserstein, "mmd": mmd}


def _gaussian(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean = points.mean(dim=0)
    centred = points - mean
    covariance = centred.T @ centred / len(points)
    trace = covariance.trace()
    jitter = (JITTER * trace.detach() / len(covariance)).clamp_min(MIN_VARIANCE)
    # cholesky would wait for the device to check, and raise where a latent is not finite.
    identity = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    factor = torch.linalg.cholesky_ex(covariance + jitter * identity).L
    return mean, factor, trace + jitter * len(covariance)


def _nuclear_norm(matrix: Tensor) -> Tensor:
    """Return the sum of singular values; its gradient is the orthogonal factor."""
    if matrix.is_cuda:  # where a decomposition waits to see whether it converged
        return (matrix * _orthogonal_factor(matrix.detach())).sum()
    return torch.linalg.svdvals(matrix).sum()


def _orthogonal_factor(matrix: Tensor) -> Tensor:
    """Return U V^T of a matrix U S V^T by Newton and Schulz; singular values below 1e-7 of the norm do not get there."""
    norm = torch.linalg.matrix_norm(matrix)
    factor = matrix / norm.where(norm != 0, 1)
    for _ in range(POLAR_STEPS):
        factor = torch.addmm(factor, factor, factor.T @ factor, beta=1.5, alpha=-0.5)
    return factor


def _over_pairs(kernel: Tensor) -> Tensor:
    """Return the mean of a symmetric kernel `n n` off its diagonal, which holds ones; 1 where nothing is off it."""
    n = len(kernel)
    return (kernel.sum() - n) / (n * (n - 1)) if n > 1 else kernel.mean()


def _sample(points: Tensor) -> Tensor:
    if len(points) <= SAMPLED:
        return points
    return points[torch.randperm(len(points), device=points.device)[:SAMPLED]]
