"""Mean and covariance of vectors that arrive in batches, and their effective rank."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..tokenizer.devices import widest_float
from ..tokenizer.quantizers.layout import as_rows
from ..tokenizer.shapes import Latent, Vectors

MAX_CHANNELS = 1024
"""Above this many channels only the diagonal is kept: the full matrix takes 8 MB and its eigenvalues nearly a second."""


def rank_note(channels: int) -> str:
    """Return a sentence that says why the effective rank is not measured; empty when it is."""
    if channels <= MAX_CHANNELS:
        return ""
    return f"The effective rank is not measured: {channels:,} channels are more than {MAX_CHANNELS:,}."


class RunningCovariance:
    """Count, mean and scatter (sum of products of deviations) of vectors. Adding vectors never waits for the device.

    Deviations are taken from the mean of each batch, then batches are merged (Chan, Golub and LeVeque 1983). The sums are
    in float64 where the device has it, so a large mean costs no digits. Above MAX_CHANNELS channels the scatter is its
    diagonal, unless `full` asks for the matrix.
    """

    def __init__(self, channels: int, device: torch.device, full: bool = False):
        shape = (channels, channels) if full or channels <= MAX_CHANNELS else (channels,)
        self.count = torch.zeros((), dtype=widest_float(device), device=device)
        self.mean = self.count.new_zeros(channels)
        self.scatter = self.count.new_zeros(shape)

    def add(self, latent: Latent) -> None:
        """Add the vectors of a latent `b d y x`."""
        self.add_vectors(as_rows(latent.detach().float()))

    def add_vectors(self, vectors: Vectors) -> None:
        """Add vectors `n d`; products are summed over a batch in the type of the vectors."""
        if not len(vectors):
            return
        mean = vectors.mean(dim=0)
        rows = vectors - mean
        rest = rows.mean(dim=0)  # what rounding took off the mean
        rows = rows - rest
        products = rows.T @ rows if self.scatter.ndim == 2 else rows.square().sum(dim=0)
        between = mean.to(self.mean) + rest - self.mean
        total = self.count + len(rows)
        self.scatter += products.to(self.scatter) + self.count * len(rows) / total * self._outer(between)
        self.mean += between * len(rows) / total
        self.count.copy_(total)

    def reduced(self, add: Callable[[Tensor], Tensor]) -> "RunningCovariance":
        """Return the covariance over all processes, where `add` sums a tensor over them. This one does not change."""
        total = RunningCovariance(len(self.mean), self.mean.device, full=self.scatter.ndim == 2)
        total.count = add(self.count.clone())
        total.mean = add(self.mean * self.count) / total.count.clamp_min(1)
        total.scatter = add(self.scatter + self.count * self._outer(self.mean - total.mean))
        return total

    def clear(self) -> None:
        """Forget all vectors, in place."""
        for value in (self.count, self.mean, self.scatter):
            value.zero_()

    def variance(self) -> float:
        """Return the mean variance of the channels; 0 without vectors. Waits for the device."""
        diagonal = self.scatter.diagonal() if self.scatter.ndim == 2 else self.scatter
        return float(diagonal.mean() / self.count.clamp_min(1))

    def effective_rank(self) -> float | None:
        """Return the number of directions in which the vectors vary, in [1, d], or 0 if they do not. Waits for the device.

        It is exp of the entropy of the covariance's eigenvalues, normalised to sum to 1 (Roy and Vetterli 2007, who use
        singular values). None above MAX_CHANNELS channels, NaN when a vector is not finite.
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
        return {"count": self.count, "mean": self.mean, "scatter": self.scatter}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        for name, value in self.state().items():
            value.copy_(state[name])

    def _outer(self, vector: Tensor) -> Tensor:
        return torch.outer(vector, vector) if self.scatter.ndim == 2 else vector.square()
