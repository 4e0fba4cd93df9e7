"""Mean and covariance of vectors that come in batches, and in how many directions they vary."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..tokenizer.devices import widest_float
from ..tokenizer.quantizers.layout import as_rows
from ..tokenizer.shapes import Latent, Vectors

MAX_CHANNELS = 1024
"""Channels up to which the covariance is taken: 8 MB, and less than a second for its eigenvalues."""


def unmeasured(channels: int) -> str:
    """Return a sentence that says that the effective rank is not measured; empty when it is."""
    if channels <= MAX_CHANNELS:
        return ""
    return f"The effective rank is not measured: {channels:,} channels are more than {MAX_CHANNELS:,}."


def sums(*shape: int, device: torch.device) -> Tensor:
    """Return zeros to add up in: float64 where the device has it."""
    return torch.zeros(shape, dtype=widest_float(device), device=device)


class Moments:
    """Number, mean and scatter (sum of products of deviations) of vectors; nothing is read from the device to add some.

    Deviations are taken from the mean of each batch and batches merged (Chan, Golub and LeVeque 1983), in float64 where
    the device has it, so that a large mean costs no digits. Above MAX_CHANNELS channels the scatter is its diagonal.
    """

    def __init__(self, channels: int, device: torch.device):
        self.number = sums(1, device=device)[0]
        self.mean = sums(channels, device=device)
        self.scatter = sums(*(channels,) * (2 if channels <= MAX_CHANNELS else 1), device=device)

    def add(self, latent: Latent) -> None:
        """Take in the vectors of a latent `b d y x`."""
        rows = as_rows(latent.detach().float())
        if not len(rows):
            return
        mean = rows.mean(dim=0)
        rows = rows - mean
        rest = rows.mean(dim=0)  # what float32 rounded off the mean
        rows = rows - rest
        self._merge(torch.full_like(self.number, len(rows)), mean.to(self.mean) + rest, self._products(rows))

    def reduced(self, add: Callable[[Tensor], Tensor]) -> "Moments":
        """Return the moments over all processes, `add` summing a tensor over them; this one stays as it is."""
        total = Moments(len(self.mean), self.mean.device)
        total.number = add(self.number.clone())
        total.mean = add(self.mean * self.number) / total.number.clamp_min(1)
        total.scatter = add(self.scatter + self.number * self._outer(self.mean - total.mean))
        return total

    def clear(self) -> None:
        """Forget all vectors, in place."""
        for value in (self.number, self.mean, self.scatter):
            value.zero_()

    def variance(self) -> float:
        """Return the mean variance of the channels; 0 without vectors. Waits for the device."""
        diagonal = self.scatter.diagonal() if self.scatter.ndim == 2 else self.scatter
        return float(diagonal.mean() / self.number.clamp_min(1))

    def effective_rank(self) -> float | None:
        """Return in how many directions the vectors vary, from 1 to d; 0 where they do not. Waits for the device.

        It is exp of the entropy of the covariance's eigenvalues, as fractions of their sum (Roy and Vetterli 2007, there
        of singular values); None above MAX_CHANNELS channels, NaN where a vector is not finite.
        """
        if self.scatter.ndim != 2:
            return None
        scatter = self.scatter.cpu().double()
        if not scatter.isfinite().all():
            return float("nan")
        energies = torch.linalg.eigvalsh(scatter).clamp_min(0)
        total = energies.sum()
        return float(torch.special.entr(energies / total).sum().exp()) if total > 0 else 0.0

    def state(self) -> dict[str, Any]:
        """Return what `load` takes."""
        return {"number": self.number, "mean": self.mean, "scatter": self.scatter}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name, value in self.state().items():
            value.copy_(state[name])

    def _merge(self, number: Tensor, mean: Tensor, scatter: Tensor) -> None:
        total = self.number + number
        between = mean - self.mean
        self.scatter += scatter.to(self.scatter) + self.number * number / total * self._outer(between)
        self.mean += between * number / total
        self.number.copy_(total)

    def _products(self, rows: Vectors) -> Tensor:
        return rows.T @ rows if self.scatter.ndim == 2 else rows.square().sum(dim=0)

    def _outer(self, vector: Tensor) -> Tensor:
        return torch.outer(vector, vector) if self.scatter.ndim == 2 else vector.square()
