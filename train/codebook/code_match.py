"""How well codes fit their latents, over a window of steps and all processes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...evaluation.running_covariance import RunningCovariance
from ...tokenizer.devices import widest_float
from ...tokenizer.quantizers import Quantizer
from ...tokenizer.shapes import Latent

TINY = 1e-6
_SUMS = ("error", "latent_length", "code_length", "obtuse")


class CodeMatch:
    """Sums over positions, without waiting for the device until `values`."""

    def __init__(self, channels: int, device: torch.device):
        self.channels = channels
        self._sums = torch.zeros(len(_SUMS), dtype=widest_float(device), device=device)
        self.latents = RunningCovariance(channels, device)
        self.codes = RunningCovariance(channels, device)

    def add(self, points: Latent, codes: Latent, skip: Tensor | None = None) -> None:
        """Add latents `b d y x`, as they are compared, and their codes; nothing where the boolean scalar `skip` is true."""
        before = [] if skip is None else [value.clone() for value in self._values()]
        self._add(points, codes)
        if skip is not None:
            for value, old in zip(self._values(), before, strict=True):
                value.copy_(torch.where(skip, old, value))

    def _add(self, points: Latent, codes: Latent) -> None:
        points, codes = points.detach().float(), codes.detach().float()
        self._sums += torch.stack(
            [
                (points - codes).square().mean(dim=1).sum(),
                points.norm(dim=1).sum(),
                codes.norm(dim=1).sum(),
                ((points * codes).sum(dim=1) < 0).sum(),
            ]
        )
        self.latents.add(points)
        self.codes.add(codes)

    def values(self, add: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return the values over all processes, with `add` summing a tensor over them; every process must call it.

        `distortion`: mean squared distance per channel; `relative_distortion`: the same over the variance of the latents, 1
        for one code at their mean; `length_ratio`: mean |q| over mean |z|; `obtuse`: fraction of positions with z.q < 0;
        `effective_rank` of the codes, weighted by how often they occur, and `latent_effective_rank`: see `RunningCovariance`.
        """
        latents, codes = self.latents.reduced(add), self.codes.reduced(add)
        total = dict(zip(_SUMS, add(self._sums.clone()).tolist(), strict=True))
        count = max(1.0, float(latents.count))
        distortion, variance = total["error"] / count, latents.variance()
        values = {
            "distortion": distortion,
            "relative_distortion": distortion / max(variance, TINY**2),
            "length_ratio": total["code_length"] / max(total["latent_length"], TINY * count),
            "obtuse": total["obtuse"] / count,
        }
        ranks = {"effective_rank": codes.effective_rank(), "latent_effective_rank": latents.effective_rank()}
        return values | {name: rank for name, rank in ranks.items() if rank is not None}

    def clear(self) -> None:
        self._sums.zero_()
        self.latents.clear()
        self.codes.clear()

    def _values(self) -> list[Tensor]:
        return [self._sums, *self.latents.state().values(), *self.codes.state().values()]

    def state(self) -> dict[str, Any]:
        return {"sums": self._sums, "latents": self.latents.state(), "codes": self.codes.state()}

    def load(self, state: dict[str, Any]) -> None:
        self._sums.copy_(state["sums"])
        self.latents.load(state["latents"])
        self.codes.load(state["codes"])


@torch.no_grad()
def match_by_codebook(quantizer: Quantizer, latent: Latent) -> list[CodeMatch]:
    """Return how each codebook, as it is now, fits what it sees of a latent."""
    was_training = quantizer.training
    quantizer.eval()  # a training forward would draw random numbers, and may not choose the nearest codes
    matches = []
    for codebook, seen in zip(quantizer.codebooks(), quantizer.codebook_inputs(latent), strict=True):
        match = CodeMatch(codebook.dim, latent.device)
        match.add(codebook.to_code_space(seen), codebook(seen).latent)
        matches.append(match)
    quantizer.train(was_training)
    return matches
