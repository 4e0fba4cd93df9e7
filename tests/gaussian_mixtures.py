"""Mixtures of Gaussians on the path z = (1 - t) u + t e, where every expectation is known, in float64."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Components with weights `k`, means `k d` and factors `k d d`: samples of one are mean + factor @ normal."""

    weights: Tensor
    means: Tensor
    factors: Tensor

    @property
    def covariances(self) -> Tensor:
        return self.factors @ self.factors.mT

    def mean(self) -> Tensor:
        return self.weights @ self.means

    def covariance(self) -> Tensor:
        centred = self.means - self.mean()
        return torch.einsum("k,kde->de", self.weights, self.covariances + centred[:, :, None] * centred[:, None, :])

    def detach(self) -> "Mixture":
        return Mixture(self.weights.detach(), self.means.detach(), self.factors.detach())

    def _noisy(self, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log (weight N(z)) `n k`, z - mean `n k d` and the covariance of z `n k d d`, of each component at t."""
        covariances = (1 - t)[:, None, None, None] ** 2 * self.covariances
        covariances = covariances + t[:, None, None, None] ** 2 * torch.eye(z.shape[1], dtype=z.dtype)
        centred = z[:, None] - (1 - t)[:, None, None] * self.means
        squares = (centred * torch.linalg.solve(covariances, centred[..., None])[..., 0]).sum(-1)
        logs = -0.5 * (squares + torch.logdet(2 * torch.pi * covariances)) + self.weights.log()
        return logs, centred, covariances

    def density(self, z: Tensor, t: Tensor) -> Tensor:
        """Return the density of z `n d` at t `n`."""
        return self._noisy(z, t)[0].exp().sum(1)

    def expected_residual(self, z: Tensor, t: Tensor) -> Tensor:
        """Return E[u | z] `n d`: the posterior means of the components, weighted by their posterior probabilities."""
        logs, centred, covariances = self._noisy(z, t)
        gains = (1 - t)[:, None, None, None] * torch.linalg.solve(
            covariances, self.covariances.expand_as(covariances)
        ).mT
        means = self.means + (gains @ centred[..., None])[..., 0]
        return (logs.softmax(1)[..., None] * means).sum(1)

    def samples(self, nodes: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return u `n d`, e `n d` and probabilities `n`, exact for polynomials of degree 2 nodes - 1 in the noises.

        Means and factors keep their graphs: these are samples of a generator that shifts and scales components.
        """
        axes = self.means.shape[1]
        points, probabilities = normal_nodes(nodes, 2 * axes)
        inner, noise = points[:, :axes], points[:, axes:]
        residuals = [mean + inner @ factor.mT for mean, factor in zip(self.means, self.factors, strict=True)]
        weights = (self.weights[:, None] * probabilities).flatten()
        return torch.cat(residuals), noise.repeat(len(residuals), 1), weights


def normal_nodes(nodes: int, axes: int) -> tuple[Tensor, Tensor]:
    """Return points `n axes` and probabilities `n` of Gauss and Hermite's quadrature of a standard normal."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    grid = torch.tensor(list(product(points, repeat=axes)))
    return grid, torch.tensor(list(product(weights / weights.sum(), repeat=axes))).prod(1)


def gaussian(mean: list[float], factor: list[list[float]]) -> Mixture:
    return mixture([1.0], [mean], [factor])


def two_bumps() -> Mixture:
    """A mixture in 1 dimension."""
    return mixture([0.4, 0.6], [[-1.2], [0.8]], [[[0.5]], [[0.7]]])


def three_ellipses() -> Mixture:
    """A mixture in 2 dimensions whose components lie at angles to the axes."""
    factors = [[[0.8, 0.0], [0.2, 0.7]], [[0.7, 0.1], [0.0, 0.9]], [[0.7, 0.0], [-0.3, 0.8]]]
    return mixture([0.5, 0.2, 0.3], [[-0.8, 0.3], [0.7, 0.6], [0.2, -0.9]], factors)


def mixture(weights: list[float], means: list[list[float]], factors: list[list[list[float]]]) -> Mixture:
    return Mixture(*(torch.tensor(values, dtype=torch.float64) for values in (weights, means, factors)))
