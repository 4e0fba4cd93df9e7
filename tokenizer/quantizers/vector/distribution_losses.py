"""How far the distribution of the codes is from that of the latents: losses that pull a whole codebook, used or not."""

import torch
from torch import Tensor

from ...shapes import Codes, Vectors
from ..scale import scale_to_one

JITTER = 1e-8
"""Least variance of a channel, relative to the mean over channels."""
LEAST = 1e-30
SAMPLED = 1024
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def wasserstein(vectors: Vectors, codes: Codes) -> Tensor:
    """Return the squared 2-Wasserstein distance of the Gaussians with the mean and covariance of each, a scalar.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2). The last trace is the nuclear norm of L1^T L2 for the Cholesky
    factors, whose gradient stays finite where eigenvalues coincide; float64, and a variance of 1e-8 of the mean one is added
    to every channel, so that it exists for covariances of any rank. Blind to everything but mean and covariance. NaN where a
    row is not finite.
    """
    mean1, factor1, trace1 = _gaussian(vectors.double())
    mean2, factor2, trace2 = _gaussian(codes.double())
    product = factor1.T @ factor2
    # Of what is not finite there are no singular values; means and traces carry the NaN on.
    overlap = torch.linalg.svdvals(product.where(product.isfinite(), 0.0)).sum()
    return ((mean1 - mean2).square().sum() + trace1 + trace2 - 2 * overlap).to(codes.dtype)


def mmd(vectors: Vectors, codes: Codes) -> Tensor:
    """Return the squared maximum mean discrepancy under Gaussian kernels, a scalar in [-2, 2].

    Kernels exp(-|x - y|^2 / (2 s^2)), s^2 the mean squared distance times 1/4 to 4, averaged; of each side at most 1024
    rows, drawn at random. Sees every moment, unlike `wasserstein`. Means within a side are over pairs of different rows
    (the U-statistic of Gretton et al. 2012), so that rows of one distribution give 0 in the mean, and below 0 as often as
    above; a side of one row has no pairs, and its mean counts as 1. A scale that both share does not matter.
    """
    x, y = _sample(vectors), _sample(codes)
    points = torch.cat([x, y])
    points = points * scale_to_one(points)
    squared = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").square()
    width = squared.detach().mean().clamp_min(LEAST)
    kernel = torch.stack([torch.exp(-squared / (2 * factor * width)) for factor in BANDWIDTHS]).mean(dim=0)
    n = len(x)
    return _over_pairs(kernel[:n, :n]) + _over_pairs(kernel[n:, n:]) - 2 * kernel[:n, n:].mean()


DISTRIBUTIONS = {"wasserstein": wasserstein, "mmd": mmd}


def _gaussian(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean = points.mean(dim=0)
    centred = points - mean
    covariance = centred.T @ centred / len(points)
    trace = covariance.trace()
    jitter = (JITTER * trace.detach() / len(covariance)).clamp_min(LEAST)
    # The form without a check: the other one waits for the device, and ends a run where a latent is not finite.
    factor = torch.linalg.cholesky_ex(covariance + jitter * torch.eye(len(covariance)).to(covariance)).L
    return mean, factor, trace + jitter * len(covariance)


def _over_pairs(kernel: Tensor) -> Tensor:
    """Return the mean of a symmetric kernel `n n` off its diagonal, which holds ones; 1 where nothing is off it."""
    n = len(kernel)
    return (kernel.sum() - n) / (n * (n - 1)) if n > 1 else kernel.mean()


def _sample(points: Tensor) -> Tensor:
    if len(points) <= SAMPLED:
        return points
    return points[torch.randperm(len(points), device=points.device)[:SAMPLED]]
